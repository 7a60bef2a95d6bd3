import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { Lab } from '../lab/lab.js'
import { World } from '../lab/world.js'
import { type BenchResult, median, quantile } from './bench.js'
import { cutPower, HaGuests } from './ha-guests.js'
import { Starts } from './starts.js'

// The power of a host without any power device is cut: nothing but the end of its leases proves that its guests
// do not run. Beside them the host holds a lease that Drover knows nothing of, in the same lockspace, and another
// host asks sanlock for that one by hand: when it gets it is the moment that sanlock frees a lease. Sanlock's own
// formula, from the last renewal, says when it must not happen yet.

const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 20)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
const ioTimeout = Number(process.env['DROVER_BENCH_IO_TIMEOUT'] ?? 5)
const hosts = ['h1', 'h2', 'h3']
const [asking = '', , victim = ''] = hosts
const mostLate = 3
/** What sanlock calls host_dead_seconds: renewals fail for 8 I/O time-outs, then the watchdog has 60 s. */
const deadAfter = 8 * ioTimeout + 60

export async function run(): Promise<BenchResult> {
  const lab = new Lab('b-lease')
  await using world = new World(lab, hosts)
  using starts = new Starts(lab)
  console.log('booting a coordinator and three hosts')
  await world.createHosts()
  await Promise.all(hosts.map(host => withoutPowerDevice(world, host)))
  await world.createStorage(undefined, ioTimeout)
  const haGuests = new HaGuests(world)
  await haGuests.withDefaultPolicy()
  await haGuests.create(guests)
  await haGuests.startOn(victim)
  starts.watch(...hosts)
  const byHand = new LeaseByHand(world)
  await byHand.create()

  const freed: number[] = []
  const late: number[] = []
  const early: number[] = []
  for (let round = 0; round < rounds; round++) {
    await byHand.hold()
    await setTimeout(15_000)
    const began = Date.now()
    await cutPower(lab, victim)
    const asked = byHand.await()
    const running = await starts.after(began, haGuests.names, deadAfter + 600)
    const moment = await asked
    const due = (await byHand.lastRenewal()) + deadAfter * 1000
    freed.push((moment - began) / 1000)
    late.push(...running.map(time => (time - moment) / 1000))
    early.push(...running.filter(time => time < due))
    const [first = NaN, last = NaN] = [running[0], running.at(-1)].map(time => ((time ?? NaN) - began) / 1000)
    console.log(
      `formula ${((due - began) / 1000).toFixed(1)} s, sanlock by hand ${freed.at(-1)?.toFixed(1)} s, ` +
        `first guest ${first.toFixed(1)} s, all ${last.toFixed(1)} s`
    )
    console.log(`  ${await haGuests.story(began)}`)
    if (round === rounds - 1) break
    await haGuests.bringBack(victim)
    starts.watch(victim)
  }
  const violations = await world.violations()
  for (const violation of violations) console.log(violation)
  const worst = Math.max(...late)
  const isMet = worst <= mostLate && early.length === 0 && violations.length === 0
  return {
    bench: 'ha-lease',
    ok: isMet && guests >= 20 && rounds >= 3,
    ratio: (median(freed) + median(late)) / median(freed),
    reference: 'sanlock asked by hand for a lease of the same host',
    goal: `each guest within ${mostLate} s of the moment that sanlock frees the lease, none before its formula allows`,
    ...{ guests, rounds, ioTimeout, early: early.length, violations: violations.length },
    ...{ lateMedian: median(late), lateP99: quantile(late, 0.99), lateMost: worst, freed: median(freed) }
  }
}

async function withoutPowerDevice({ api, services, hostIds }: World, name: string): Promise<void> {
  const host = { hostId: hostIds.get(name) ?? '', powerManagement: { enabled: false } }
  const updateMask = { paths: ['power_management'] }
  await api.ask(services.host.UpdateHost, { requestId: randomUUID(), host, updateMask })
}

/** A lease that nobody but this benchmark knows, in the lockspace of the storage domain. */
class LeaseByHand {
  readonly #world: World
  readonly #resource: string

  constructor(world: World) {
    this.#world = world
    this.#resource = `${world.ids.storageDomain}:bench:/lab/shared/bench.lease:0`
  }

  async create(): Promise<void> {
    const script = `truncate -s 2M /lab/shared/bench.lease; sanlock client init -r ${this.#resource}`
    await this.#world.lab.shell(asking, script)
  }

  async hold(): Promise<void> {
    const script = `setsid sanlock client command -r ${this.#resource} -c /bin/sleep 100000 >/dev/null 2>&1 </dev/null &
      for try in $(seq 100); do ! sanlock client status | grep -q ':bench:' || exit 0; sleep 0.1; done; exit 1`
    await this.#world.lab.shell(victim, script)
  }

  /** The moment another host gets it. */
  async await(): Promise<number> {
    const script = `until sanlock client command -r ${this.#resource} -c /bin/date +%s%3N; do sleep 0.1; done`
    const child = this.#world.lab.follow(asking, ['sh', '-c', script])
    let said = ''
    child.stdout.on('data', (data: Buffer) => (said += data.toString()))
    await once(child, 'close')
    return Number(/\d{13}/.exec(said)?.[0])
  }

  /** The last one that the host made; its time stamps count the seconds since the machine's boot. */
  async lastRenewal(): Promise<number> {
    const { sanlockHostId } = await this.#world.host(victim)
    const said = await this.#world.lab.exec(asking, [
      ...['sanlock', 'client', 'host_status', '-s', this.#world.ids.storageDomain]
    ])
    const [, stamp] = new RegExp(`^${sanlockHostId} timestamp (\\d+)`, 'm').exec(said) ?? []
    const bootedAt = Date.now() - Number(process.hrtime.bigint() / 1_000_000n)
    return bootedAt + Number(stamp) * 1000
  }
}
