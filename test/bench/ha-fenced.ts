import { setTimeout } from 'node:timers/promises'
import { Lab } from '../lab/lab.js'
import { World } from '../lab/world.js'
import { type BenchResult, inTurns, median, show } from './bench.js'
import { firstOff, noteFencing } from './fence-log.js'
import { cutPower, HaGuests } from './ha-guests.js'
import { Pacemaker } from './pacemaker.js'
import { Starts } from './starts.js'

// The power of a host with highly available guests is cut; its power device says so. From the cut to each guest
// running on another host, against Pacemaker and Corosync with the same fence agent and guests of the same
// definition, on hosts like ours. Both as they come: no time of theirs or ours is tuned.

const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 50)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
const ours = ['h1', 'h2', 'h3']
const theirs = ['b1', 'b2', 'b3']
const mostFirst = 2
const mostAll = 10
const patience = 900

/** When, and seconds after that. */
type Cut = { began: number; off: number; first: number; all: number }
const cuts: Record<'ours' | 'theirs', Cut[]> = { ours: [], theirs: [] }

export async function run(): Promise<BenchResult> {
  const lab = new Lab('b-fenced')
  await using world = new World(lab, ours)
  using starts = new Starts(lab)
  const { drover, pacemaker } = await boot(world, starts)
  const sides = await inTurns(rounds, drover, pacemaker)
  const ratio = show(`${guests} guests, from the cut to all`, sides, 's')
  const firsts = {
    ours: cuts.ours.map(({ first }) => first),
    reference: cuts.theirs.map(({ first }) => first)
  }
  const firstRatio = show('from the cut to the first', firsts, 's')
  // The fence agent's first "off" begins the time that is ours alone.
  const first = Math.max(...cuts.ours.map(cut => cut.first - cut.off))
  const all = Math.max(...cuts.ours.map(cut => cut.all - cut.off))
  console.log(
    `ours since the device first said off, worst round: first ${first.toFixed(1)} s, all ${all.toFixed(1)} s`
  )
  const violations = await world.violations()
  for (const violation of violations) console.log(violation)
  const isMet = first <= mostFirst && all <= mostAll && ratio <= 1 && violations.length === 0
  return {
    bench: 'ha-fenced',
    ok: isMet && guests >= 50 && rounds >= 3,
    ratio,
    reference: 'Pacemaker and Corosync with fence_ipmilan',
    goal:
      `since the device first said off: first guest <= ${mostFirst} s, 50 guests <= ${mostAll} s; ` +
      'from the cut on not slower than the reference',
    ...{ guests, rounds, firstRatio, violations: violations.length },
    ...{
      firstSinceOff: first,
      allSinceOff: all,
      all: median(sides.ours),
      referenceAll: median(sides.reference)
    },
    ...{ first: median(firsts.ours), referenceFirst: median(firsts.reference) }
  }
}

/** Both clusters with their guests, each on a host that leads and manages nothing; and a round of each. */
async function boot(world: World, starts: Starts) {
  const { lab } = world
  console.log('booting a coordinator, three hosts with Drover and three with Pacemaker')
  const haGuests = await startOurs(world)
  await lab.up(...theirs)
  const pacemaker = new Pacemaker(lab, theirs)
  await pacemaker.install()
  await noteFencing(lab, [...ours, ...theirs])
  // The first host of ours manages the storage domain.
  const victim = ours[2] ?? ''
  const follower = await pacemaker.follower()
  await haGuests.startOn(victim)
  const xml = await lab.exec(victim, ['virsh', 'dumpxml', '--inactive', haGuests.names[0] ?? ''])
  const twins = haGuests.ids.map((_, at) => `twin-${at}`)
  await pacemaker.define(xml, twins, follower)
  await pacemaker.whenAllRunOn(follower, guests)
  starts.watch(...ours, ...theirs)

  const byDrover = async () => {
    const cut = await cutOf(lab, starts, victim, haGuests.names)
    cuts.ours.push(cut)
    console.log(`ours: ${told(cut)}\n  ${await haGuests.story(cut.began)}`)
    await haGuests.bringBack(victim)
    starts.watch(victim)
    return cut.all
  }
  const byPacemaker = async () => {
    const cut = await cutOf(lab, starts, follower, twins)
    cuts.theirs.push(cut)
    console.log(`theirs: ${told(cut)}`)
    await lab.on(follower)
    await pacemaker.startOn(follower)
    starts.watch(follower)
    await pacemaker.whenAllRunOn(follower, guests)
    return cut.all
  }
  return { drover: byDrover, pacemaker: byPacemaker }
}

/** The power is cut, and the guests run elsewhere. */
async function cutOf(lab: Lab, starts: Starts, victim: string, names: readonly string[]): Promise<Cut> {
  // What the others know of the host is as old as they look: both sides have been quiet for a while.
  await setTimeout(15_000)
  const began = Date.now()
  await cutPower(lab, victim)
  const running = await starts.after(began, names, patience)
  const since = (moment = NaN) => (moment - began) / 1000
  return {
    began,
    off: since(await firstOff(lab, began)),
    first: since(running[0]),
    all: since(running.at(-1))
  }
}

const told = ({ off, first, all }: Cut) =>
  `said off after ${off.toFixed(1)} s, first guest ${first.toFixed(1)} s, all ${all.toFixed(1)} s`

async function startOurs(world: World): Promise<HaGuests> {
  await world.createHosts()
  await world.createStorage()
  const haGuests = new HaGuests(world)
  await haGuests.withDefaultPolicy()
  await haGuests.create(guests)
  return haGuests
}
