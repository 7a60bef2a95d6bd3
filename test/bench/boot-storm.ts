import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Api } from '../lab/api.js'
import { Lab } from '../lab/lab.js'
import { World } from '../lab/world.js'
import { type BenchResult, inTurns, median, quantile, show, timed } from './bench.js'
import { StepTimes } from './step-times.js'
import { twinOf } from './twin.js'
import { root } from '../root.js'

// Many VMs started at once through the API, from the first request to the end of the last job, against
// python3-libvirt creating the same guests from the best number of threads, on a host like ours without Drover.
// The guests have no disks and run their firmware. Meanwhile another client reads: its times are the API's.

const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 100)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
const goal = 0.95
const mostReadMs = 50
const threadCounts = [2, 4, 8]
const limit = 900

export async function run(): Promise<BenchResult> {
  const lab = new Lab('b-storm')
  await using world = new World(lab, ['h1'])
  console.log('booting a coordinator, a host with Drover and one without')
  await execa('node', ['tools/package.mjs', '--if-stale'], { cwd: root, timeout: 180_000 })
  await world.boot()
  await world.install()
  await world.startCoordinator()
  await world.createCluster()
  await world.enrol()
  await lab.up('b1')
  const vmIds = await createVms(world)
  await prepareReference(world, vmIds[0] ?? '')

  const reads: number[] = []
  const writes: number[] = []
  const steps = new StepTimes()
  const ours = async () => {
    using reader = new Api(await lab.socket('coord', '/run/drover/coordinator.sock'))
    const reading = readMeanwhile(reader, vmIds, reads)
    const taken = await timed(() => startAll(world, vmIds, writes, steps))
    await reading.end()
    await stopAll(world, vmIds)
    return taken / 1000
  }
  const threads = await bestThreads(lab)
  const reference = () => createByPython(lab, guests, threads)
  const sides = await inTurns(rounds, ours, reference)
  const ratio = 1 / show(`${guests} VMs, ${threads} threads`, sides, 's')
  const readMs = quantile(reads, 0.99)
  const perSecond = guests / median(sides.ours)
  const referencePerSecond = guests / median(sides.reference)
  console.log(
    `${perSecond.toFixed(1)} VMs/s, reference ${referencePerSecond.toFixed(1)}; ` +
      `reads meanwhile p99 ${readMs.toFixed(1)} ms of ${reads.length}; StartVm p99 ${quantile(writes, 0.99).toFixed(1)} ms`
  )
  console.log(`ours by step: ${steps.medians()} ms`)
  return {
    bench: 'boot-storm',
    ok: ratio >= goal && readMs < mostReadMs && guests >= 100 && rounds >= 3,
    ratio,
    reference: `python3-libvirt, ${threads} threads (best of ${threadCounts.join(', ')})`,
    goal: `rate >= ${goal} x the best thread count; reads p99 < ${mostReadMs} ms meanwhile; 100 VMs`,
    ...{ guests, rounds, perSecond, referencePerSecond, readMs, startMs: quantile(writes, 0.99) }
  }
}

function createVms({ api, services, ids }: World): Promise<string[]> {
  return Promise.all(
    Array.from({ length: guests }, async (_, index) => {
      const size = { vcpus: 1, memoryBytes: String(32 * 2 ** 20) }
      const vm = { name: `storm-${index}`, clusterId: ids.cluster, ...size }
      const job = await api.job(services.vm.CreateVm, { vm }, undefined, limit)
      return job.objects['vm'] ?? ''
    })
  )
}

/** All requests at once; then the jobs are followed to their ends. */
async function startAll(
  { api, services }: World,
  vmIds: string[],
  writes: number[],
  steps: StepTimes
): Promise<void> {
  const jobs = await Promise.all(
    vmIds.map(async vmId => {
      const began = performance.now()
      const job = await api.ask(services.vm.StartVm, { requestId: randomUUID(), vmId }, 120)
      writes.push(performance.now() - began)
      return job
    })
  )
  for (const job of jobs) steps.take(await api.follow(job, undefined, limit))
}

async function stopAll({ api, services }: World, vmIds: string[]): Promise<void> {
  const stop = (vmId: string) => api.job(services.vm.StopVm, { vmId, force: true }, undefined, limit)
  await Promise.all(vmIds.map(stop))
}

/** Another client, every 20 ms. */
function readMeanwhile(api: Api, vmIds: string[], times: number[]) {
  let isOver = false
  const reading = (async () => {
    for (let index = 0; !isOver; index++) {
      const vmId = vmIds[index % vmIds.length] ?? ''
      times.push(await timed(() => api.ask(api.services.vm.GetVm, { vmId })))
      await setTimeout(20)
    }
  })()
  const end = async () => {
    isOver = true
    await reading
  }
  return { end }
}

/** The definition of one of our guests, for python to fill in names. */
async function prepareReference(world: World, vmId: string): Promise<void> {
  const { lab, api, services } = world
  await api.job(services.vm.StartVm, { vmId })
  const xml = await lab.exec('h1', ['virsh', 'dumpxml', '--inactive', `drover-${vmId}`])
  await stopAll(world, [vmId])
  const twin = twinOf(xml, '@NAME@', null)
  await lab.shell('b1', 'cat >/lab/files/storm.xml', { input: twin.xml.replace(twin.uuid, '@UUID@') })
  await cp(join(root, 'test/bench/boot-storm-reference.py'), join(lab.files, 'storm.py'))
}

async function bestThreads(lab: Lab): Promise<number> {
  const few = Math.ceil(guests / 3)
  const tried: Array<{ threads: number; seconds: number }> = []
  for (const threads of threadCounts)
    tried.push({ threads, seconds: await createByPython(lab, few, threads) })
  for (const { threads, seconds } of tried)
    console.log(`reference with ${threads} threads: ${(few / seconds).toFixed(1)} guests/s`)
  return tried.toSorted((a, b) => a.seconds - b.seconds)[0]?.threads ?? 4
}

async function createByPython(lab: Lab, count: number, threads: number): Promise<number> {
  const command = [
    '/usr/bin/python3',
    '/lab/files/storm.py',
    '/lab/files/storm.xml',
    String(count),
    String(threads)
  ]
  return Number(await lab.exec('b1', command, { seconds: limit }))
}
