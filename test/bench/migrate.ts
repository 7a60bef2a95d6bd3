import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { GuestConsole } from '../lab/guest-console.js'
import { Lab, poll } from '../lab/lab.js'
import { World } from '../lab/world.js'
import { reachableByTcp, uriOf } from './bare-host.js'
import { type BenchResult, inTurns, median, show, timed } from './bench.js'
import { StepTimes } from './step-times.js'
import { twinOf, type Twin } from './twin.js'
import { root } from '../root.js'

// A live migration asked of the coordinator, from the request to the end of its job, against `virsh migrate
// --live --p2p` of the same guest between two hosts like ours without Drover. The guest writes to its disk all
// the while and answers a ping every 5 ms: its longest silence is the downtime that its users see. Ours goes
// under TLS, virsh's memory in the clear.

const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 7)
const goal = 1.03
const ours = ['h1', 'h2']
const bare = ['b1', 'b2']

export async function run(): Promise<BenchResult> {
  const lab = new Lab('b-migrate')
  await using world = new World(lab, ours)
  console.log('booting four hosts, two with Drover')
  await world.create()
  await lab.up(...bare)
  await Promise.all(bare.map(host => reachableByTcp(lab, host)))
  const vmId = await startVm(world)
  const hostOf = async () => world.nameOf((await world.vm(vmId)).hostId)
  const twin = await startTwin(lab, await hostOf(), `drover-${vmId}`)
  let twinHost = bare[0] ?? ''

  using serial = new GuestConsole(world.api, vmId)
  const steps = new StepTimes()
  const silences = { ours: [] as number[], reference: [] as number[] }
  const measured = async (
    side: 'ours' | 'reference',
    name: string,
    host: string,
    move: () => Promise<number>
  ) => {
    const ping = await pinged(await addressOf(lab, host, name))
    await ping.begin()
    const taken = await move()
    await setTimeout(500)
    const silence = await ping.end()
    silences[side].push(silence)
    console.log(`${side} ${taken.toFixed(0)} ms, silent ${silence.toFixed(0)} ms`)
    // A guest that just arrived is left to itself for a moment, on both sides.
    await setTimeout(1000)
    return taken
  }
  const byCoordinator = async () =>
    measured('ours', `drover-${vmId}`, await hostOf(), () =>
      timed(async () => steps.take(await world.api.job(world.services.vm.MigrateVm, { vmId })))
    )
  const byVirsh = () => {
    const from = twinHost
    twinHost = bare.find(host => host !== from) ?? ''
    return measured('reference', twin.name, from, () => virshMigrate(lab, twin, from, twinHost))
  }
  // The first one of each warms both up and does not count.
  await byCoordinator()
  await byVirsh()
  silences.ours.pop()
  silences.reference.pop()
  steps.clear()
  const boots = serial.found.length
  const sides = await inTurns(rounds, byCoordinator, byVirsh)
  const ratio = show('wall time', sides)
  const downtimeRatio = show('guest-seen downtime', silences)
  const reboots = serial.found.length - boots
  console.log(`ours by step: ${steps.medians()} ms; reboots of the guest: ${reboots}`)
  return {
    bench: 'migrate',
    ok: ratio <= goal && downtimeRatio <= 1 && reboots === 0 && rounds >= 5,
    ratio,
    reference: 'virsh migrate --live --p2p of the same guest',
    goal: `wall <= ${goal} x virsh; downtime <= virsh`,
    rounds,
    reboots,
    downtimeRatio,
    ms: median(sides.ours),
    referenceMs: median(sides.reference),
    downtimeMs: median(silences.ours),
    referenceDowntimeMs: median(silences.reference)
  }
}

async function startVm({ api, services, ids }: World): Promise<string> {
  const vm = { name: 'moving', clusterId: ids.cluster, nics: [{ bridge: 'br0' }] }
  const job = await api.job(services.vm.CreateVm, { templateId: ids.template, vm })
  const vmId = job.objects['vm'] ?? ''
  await api.job(services.vm.StartVm, { vmId })
  return vmId
}

/** Our guest's definition with a disk of its own, on the first of the hosts without Drover. */
async function startTwin(lab: Lab, host: string, name: string): Promise<Twin> {
  const [first = ''] = bare
  const disk = '/lab/shared/twin.qcow2'
  const twin = twinOf(await lab.exec(host, ['virsh', 'dumpxml', '--inactive', name]), 'twin', disk)
  await lab.shell(
    first,
    `cp /lab/files/guest.qcow2 ${disk}; cat >/tmp/twin.xml; virsh define /tmp/twin.xml; virsh start twin`,
    { input: twin.xml }
  )
  return twin
}

/** Milliseconds, as somebody at that host sees them. */
async function virshMigrate(lab: Lab, { name }: Twin, from: string, to: string): Promise<number> {
  const uris = await uriOf(lab, to)
  const nanoseconds = await lab.shell(
    from,
    `began=$(date +%s%N)
    virsh migrate --live --p2p --persistent --undefinesource --unsafe ${name} ${uris} >/dev/null
    echo $(($(date +%s%N) - began))`
  )
  return Number(nanoseconds) / 1e6
}

/** By the guest agent. */
function addressOf(lab: Lab, host: string, name: string): Promise<string> {
  return poll(`an address of ${name}`, 120, async () => {
    const table = await lab.exec(host, ['virsh', 'domifaddr', name, '--source', 'agent'])
    return /(10\.77\.\d+\.\d+)\//.exec(table)?.[1] ?? null
  })
}

async function pinged(address: string) {
  const script = join(root, 'test/bench/migrate-ping.py')
  const child = spawn('/usr/bin/python3', [script, address], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const begin = async () => {
    if ((await lines.next()).value !== 'heard') throw new Error(`guest ${address} does not answer`)
    child.stdin.write('\n')
  }
  const end = async () => {
    child.stdin.end()
    const silence = Number((await lines.next()).value)
    await ended
    return silence
  }
  return { begin, end }
}
