import { GuestConsole } from '../lab/guest-console.js'
import { Lab, poll } from '../lab/lab.js'
import { World } from '../lab/world.js'
import { type BenchResult, inTurns, median, show, timed } from './bench.js'
import { reachableByTcp, uriOf } from './bare-host.js'
import { StepTimes } from './step-times.js'
import { twinOf } from './twin.js'

// A host with running guests goes into maintenance, from the request to the end of its job, against
// `xargs -P n virsh migrate --live --p2p` of as many guests of the same definition between two hosts without
// Drover, for the best n of a sweep. Each guest boots Linux and writes to its disk all the while.

const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 6)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
const sweep = [1, 2, 4, 8].filter(atOnce => atOnce < 2 * guests)
const goal = 0.95
const ours = ['h1', 'h2']
const bare = ['b1', 'b2']
const limit = 1200

export async function run(): Promise<BenchResult> {
  const lab = new Lab('b-evacuate')
  await using world = new World(lab, ours)
  console.log('booting four hosts, two with Drover')
  await world.create()
  await lab.up(...bare)
  await Promise.all(bare.map(host => reachableByTcp(lab, host)))
  const vmIds = await startOurs(world)
  const twins = await startTwins(lab, vmIds)

  const steps = new StepTimes()
  let at = { ours: ours[0] ?? '', bare: bare[0] ?? '' }
  const byDrover = async () => {
    const { api, services, hostIds } = world
    const hostId = hostIds.get(at.ours) ?? ''
    const taken = await timed(async () =>
      steps.take(await api.job(services.host.DeactivateHost, { hostId }, undefined, limit))
    )
    await api.job(services.host.ActivateHost, { hostId }, undefined, limit)
    await world.whenStorageActive()
    at = { ...at, ours: other(ours, at.ours) }
    console.log(`ours ${(taken / 1000).toFixed(1)} s`)
    return taken / 1000
  }
  const byVirsh = async (atOnce: number) => {
    const taken = await evacuateByVirsh(lab, twins, at.bare, other(bare, at.bare), atOnce)
    at = { ...at, bare: other(bare, at.bare) }
    console.log(`virsh, ${atOnce} at once: ${taken.toFixed(1)} s`)
    return taken
  }
  // The first one of ours warms it up and does not count, as the sweep does for virsh.
  await byDrover()
  const swept: Array<{ atOnce: number; seconds: number }> = []
  for (const atOnce of sweep) swept.push({ atOnce, seconds: await byVirsh(atOnce) })
  const best = swept.toSorted((a, b) => a.seconds - b.seconds)[0]?.atOnce ?? 1
  const sides = await inTurns(rounds, byDrover, () => byVirsh(best))
  const ratio = 1 / show(`${guests} guests, virsh ${best} at once`, sides, 's')
  const lost =
    guests -
    (await runningOf(
      lab,
      at.ours,
      vmIds.map(id => `drover-${id}`)
    ))
  const lostTwins = guests - (await runningOf(lab, at.bare, twins))
  const violations = await world.violations()
  for (const violation of violations) console.log(violation)
  return {
    bench: 'evacuate',
    ok: ratio >= goal && lost === 0 && violations.length === 0 && guests >= 6 && rounds >= 3,
    ratio,
    reference: `xargs -P ${best} virsh migrate --live --p2p (best of ${sweep.join(', ')})`,
    goal: `speed >= ${goal} x the best of the sweep, none lost`,
    ...{ guests, rounds, best, lost, lostTwins, violations: violations.length },
    ...{ seconds: median(sides.ours), referenceSeconds: median(sides.reference), sweep: swept }
  }
}

const other = (hosts: readonly string[], from: string) => hosts.find(host => host !== from) ?? ''

/** One after the other: what an emulated guest needs to boot is a whole processor. */
async function startOurs(world: World): Promise<string[]> {
  const { api, services, hostIds } = world
  const vmIds: string[] = []
  for (let at = 0; at < guests; at++) {
    const vmId = await world.createVm(`leaving-${at}`)
    await api.job(services.vm.StartVm, { vmId, hostId: hostIds.get(ours[0] ?? '') ?? '' }, undefined, limit)
    using serial = new GuestConsole(api, vmId)
    await poll('the writer', 240, async () => (serial.acknowledged.length > 0 ? true : null))
    vmIds.push(vmId)
  }
  return vmIds
}

/** The same guests with disks of their own, on the first of the hosts without Drover. */
async function startTwins(lab: Lab, vmIds: readonly string[]): Promise<string[]> {
  const [host = ''] = bare
  const names: string[] = []
  for (const [at, id] of vmIds.entries()) {
    const name = `twin-${at}`
    const disk = `/lab/shared/${name}.qcow2`
    const { xml } = twinOf(
      await lab.exec(ours[0] ?? '', ['virsh', 'dumpxml', '--inactive', `drover-${id}`]),
      name,
      disk
    )
    const script = `cp /lab/files/guest.qcow2 ${disk}; cat >/tmp/${name}.xml; virsh define /tmp/${name}.xml; virsh start ${name}`
    await lab.shell(host, script, { input: xml })
    await poll(`${name} booted`, 240, async () => {
      const table = await lab.exec(host, ['virsh', 'domifaddr', name, '--source', 'agent'])
      return table.includes('10.77.') ? true : null
    })
    names.push(name)
  }
  return names
}

/** Seconds, as somebody at that host sees them. */
async function evacuateByVirsh(
  lab: Lab,
  twins: readonly string[],
  from: string,
  to: string,
  atOnce: number
): Promise<number> {
  const nanoseconds = await lab.shell(
    from,
    `began=$(date +%s%N)
    xargs -P ${atOnce} -I NAME virsh migrate --live --p2p --persistent --undefinesource --unsafe NAME \\
      ${await uriOf(lab, to)} >/dev/null
    echo $(($(date +%s%N) - began))`,
    { seconds: limit, input: `${twins.join('\n')}\n` }
  )
  return Number(nanoseconds) / 1e9
}

async function runningOf(lab: Lab, host: string, names: readonly string[]): Promise<number> {
  const running = (await lab.exec(host, ['virsh', '-q', 'list', '--name', '--state-running'])).split('\n')
  return names.filter(name => running.includes(name)).length
}
