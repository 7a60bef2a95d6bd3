import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../../root.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'
import { Console, installGuest, until } from './guest-on-disk.js'
import { storageDomain } from './storage.js'
import { diskless } from './world.js'

// Table B: the storage that all hosts share is lost, or hangs, under guests that write. Nothing of it is pretended:
// the kernel answers EIO, or lets whoever asks sleep.

t.setTimeout(290_000)

/** B15 has 30, 120 and 600 s; what waits for the storage waits the same way in all of them. */
const hangSeconds = Number(process.env['DROVER_HANG_SECONDS'] ?? 35)

const execute = promisify(execFile)
const scratch = await mkdtemp('/tmp/drover-lost-')
const [behind, path, mode] = [join(scratch, 'behind'), join(scratch, 'shared'), join(scratch, 'mode')]
await Promise.all([mkdir(behind), mkdir(path), writeFile(mode, 'ok')])
const mounter = spawn('/usr/bin/python3', [join(root, 'test/host/fault-mount.py'), behind, path, mode], {
  stdio: ['ignore', 'ignore', 'inherit']
})
await until('the mount', 20, async () => (await readFile('/proc/mounts', 'utf8')).includes(` ${path} fuse`))
const house = await cluster(2, { allowed_directories: ['/tmp'], unsafe_shared_filesystem: true })
t.teardown(async () => {
  await writeFile(mode, 'ok')
  await house[Symbol.asyncDispose]()
  await execute('umount', ['-l', path])
  mounter.kill('SIGKILL')
  await rm(scratch, { recursive: true, force: true, maxRetries: 20 })
})
const hosts = house.hosts as [ClusterHost, ClusterHost]
const fares = (how: 'ok' | 'eio' | 'hang') => writeFile(mode, how)

const { storageDomainId, disk } = await storageDomain(hosts[0].world, path)
const other = { ...disk, diskId: randomUUID(), imageId: randomUUID(), volumeId: randomUUID() }
const volume = { storageDomainId, imageId: other.imageId, volumeId: other.volumeId, description: 'test' }
await hosts[0].world.client.task('storage', 'CreateVolume', {
  ...{ ...volume, format: 'DISK_FORMAT_QCOW2', capacity: String(16 * 2 ** 20) }
})
for (const { imageId, volumeId } of [disk, other])
  await installGuest(join(behind, storageDomainId, 'images', imageId, volumeId), scratch)
await hosts[1].world.client.task('storage', 'ConnectStorageDomain', {
  ...{ storageDomainId, connection: { posix: { path } } }
})
await hosts[1].world.client.task('storage', 'ActivateStorageDomain', { storageDomainId, sanlockHostId: 2 })

const memoryBytes = String(192 * 2 ** 20)
const guests = await Promise.all(
  hosts.map(async (host, index) => {
    const spec = diskless(randomUUID(), { memoryBytes, disks: [index === 0 ? disk : other] })
    await host.coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec }))
    return { host, vmId: spec.vmId, console: new Console(host.world.client, spec.vmId) }
  })
)
t.teardown(() => guests.forEach(({ console }) => console.close()))

const everywhere = (what: string, seconds: number, isSo: (guest: (typeof guests)[0]) => Promise<boolean>) =>
  until(what, seconds, async () => (await Promise.all(guests.map(isSo))).every(so => so))
const writes = async () => {
  const before = guests.map(({ console }) => console.acknowledged)
  await everywhere('writes go on', 60, async guest => {
    return guest.console.acknowledged > before[guests.indexOf(guest)]! + 20
  })
}
const isWell = async ({ host, vmId }: (typeof guests)[0]) => {
  const { health } = await host.world.client.call('storage', 'GetStorageDomain', { storageDomainId })
  const { status } = (await host.world.vm(vmId)) ?? {}
  return health === 'STORAGE_DOMAIN_HEALTH_ACTIVE' && /POWERING_UP|UP$/.test(status)
}
const asBefore = async () => {
  for (const { host, vmId, console } of guests) {
    t.match(await host.world.vm(vmId), { vmGeneration: '1', failure: null, exitReason: '' })
    t.equal(console.found.length, 1, 'the guest did not boot again')
    const { findings } = await host.world.client.call('storage', 'AuditStorageDomain', { storageDomainId })
    t.strictSame(findings, [])
  }
}

t.test(
  'B17 storage that all hosts lose stops the VMs, ends none, and when it is back they go on',
  async t => {
    await everywhere('the guests write', 120, async ({ console }) => console.acknowledged > 0)
    await fares('eio')
    await everywhere('the VMs are paused', 60, async ({ host, vmId }) => {
      const vm = await host.world.vm(vmId)
      return vm?.['status'] === 'VM_STATUS_PAUSED' && vm['pauseReason'] === 'PAUSE_REASON_EIO'
    })
    await everywhere('the hosts say that the storage is not well', 60, async ({ host }) => {
      const { health } = await host.world.client.call('storage', 'GetStorageDomain', { storageDomainId })
      return /PROBLEM|UNRESPONSIVE/.test(health)
    })
    // Time for many tries to go on, none of which may be lost for good.
    await setTimeout(10_000)
    for (const { host } of guests) t.equal((await host.world.libvirtd.pids('qemu-system-x86')).length, 1)

    await fares('ok')
    const began = performance.now()
    await everywhere('the VMs go on', 60, isWell)
    t.comment(`all were back after ${((performance.now() - began) / 1000).toFixed(1)} s`)
    await writes()
    await asBefore()
  }
)

t.test('B15 storage that hangs holds up nobody who does not need it, and costs no VM', async t => {
  const pids = hosts.map(({ world }) => world.agentPid)
  const [first] = hosts
  const times: number[] = []
  const asleep = new Map(pids.map(pid => [pid, { now: 0, longest: 0 }]))
  await fares('hang')
  const began = performance.now()
  const sinceThen = () => (performance.now() - began) / 1000
  let unresponsiveAfter = Infinity
  let taskId = ''
  try {
    while (sinceThen() < hangSeconds) {
      for (const { world } of hosts) {
        const asked = performance.now()
        const { health } = await world.client.call('storage', 'GetStorageDomain', { storageDomainId })
        await world.client.call('vm', 'ListVms')
        times.push(performance.now() - asked)
        if (health === 'STORAGE_DOMAIN_HEALTH_UNRESPONSIVE')
          unresponsiveAfter = Math.min(unresponsiveAfter, sinceThen())
      }
      for (const [pid, looks] of asleep) {
        looks.now = (await sleepsInKernel(pid)) ? looks.now + 1 : 0
        looks.longest = Math.max(looks.longest, looks.now)
      }
      await setTimeout(100)
    }
    const asked = performance.now()
    const task = await first.world.client.mutate('storage', 'CreateVolume', {
      ...{ ...volume, imageId: randomUUID(), volumeId: randomUUID(), format: 'DISK_FORMAT_QCOW2' },
      capacity: String(2 ** 20)
    })
    t.ok(performance.now() - asked < 5000, 'who wants something of it has an answer at once')
    taskId = task['taskId']
    for (const pid of pids) t.ok((await threadsOf(pid)) < 40, 'no pile of threads')
  } finally {
    await fares('ok')
  }
  const sorted = times.toSorted((a, b) => a - b)
  t.ok(sorted[sorted.length >> 1]! < 200, `half of the answers within ${sorted[sorted.length >> 1]} ms`)
  t.ok(unresponsiveAfter <= 30, `unresponsive after ${unresponsiveAfter.toFixed(1)} s`)
  // A write to the local disk may take a look or two; the storage hangs for all of them.
  for (const { longest } of asleep.values())
    t.ok(longest < 10, `no main process stayed asleep in the kernel (${longest} looks in a row)`)
  await everywhere('all is well again', 60, isWell)
  const ended = await until('what was asked meanwhile ends', 60, async () => {
    const task = await first.world.client.call('task', 'GetTask', { taskId })
    return /QUEUED|RUNNING/.test(task['state']) ? null : task
  })
  t.equal(ended['state'], 'TASK_STATE_SUCCEEDED')
  await writes()
  await asBefore()
})

/** Whether a thread of it waits for I/O in a way that no signal ends. */
async function sleepsInKernel(pid: number): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`)
  const states = await Promise.all(threads.map(tid => readFile(`/proc/${pid}/task/${tid}/stat`, 'utf8')))
  return states.some(stat => stat.slice(stat.lastIndexOf(')') + 2).startsWith('D'))
}

const threadsOf = async (pid: number) => (await readdir(`/proc/${pid}/task`)).length
