import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Refused, type Answer } from './client.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// Rows of table B that one host can show: what breaks stays where it broke.

t.setTimeout(280_000)

const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const { client } = world
const { storageDomainId, disk } = await storageDomain(world)

async function timed<T>(work: Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now()
  const value = await work
  return { ms: performance.now() - began, value }
}
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await isSo()) return
    await setTimeout(100)
  }
  throw new Error(`never: ${what}`)
}

t.test(
  'B11 a libvirtd that stands still holds up what needs it and nothing else, and loses no VM',
  async t => {
    const spec = diskless()
    const { vmId } = spec
    await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
    const pids = await world.libvirtd.pids('libvirtd')
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const pausing = client.task('vm', 'PauseVm', { vmId }).catch((error: unknown) => error as Refused)
    const times: number[] = []
    try {
      for (let round = 0; round < 25; round++) {
        for (const work of [
          client.call('vm', 'GetVm', { vmId }),
          client.call('vm', 'ListVms'),
          client.call('host', 'GetHost'),
          client.call('task', 'ListTasks'),
          client.call('storage', 'ListVolumes', { storageDomainId })
        ]) {
          times.push((await timed(work)).ms)
        }
        await setTimeout(400)
      }
      const volume = {
        storageDomainId,
        imageId: randomUUID(),
        volumeId: randomUUID(),
        capacity: String(2 ** 20)
      }
      const made = await client.task('storage', 'CreateVolume', { ...volume, format: 'DISK_FORMAT_QCOW2' })
      t.equal(made['state'], 'TASK_STATE_SUCCEEDED', 'storage does not wait for it')
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
    }
    const sorted = times.toSorted((a, b) => a - b)
    t.ok(sorted[sorted.length >> 1]! < 200 && sorted.at(-1)! < 5000, `at most ${sorted.at(-1)} ms`)
    const outcome = await pausing
    if (outcome instanceof Refused) t.match(outcome.message, /libvirt|deadline|took|answer/i)
    await until('it is paused', async () => {
      await client.task('vm', 'PauseVm', { vmId }).catch(() => null)
      return (await world.vm(vmId))?.['status'] === 'VM_STATUS_PAUSED'
    })
    t.equal((await client.task('vm', 'ResumeVm', { vmId }))['state'], 'TASK_STATE_SUCCEEDED')
    t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 1)
    await client.task('vm', 'DestroyVm', { vmId })
  }
)

t.test('B13 a guest that is reset again and again fills no log', async t => {
  const spec = diskless()
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  const told: Answer[] = []
  const watch = client.stream('watch', 'Watch', {})
  watch.on('data', (message: Answer) => told.push(message))
  watch.on('error', () => {})
  for (let n = 0; n < 40; n++) await client.task('vm', 'ResetVm', { vmId: spec.vmId })
  await setTimeout(1000)
  watch.cancel()
  const reboots = JSON.stringify(told).split('"vm.rebooted"').length - 1
  t.ok(reboots <= 10, `${reboots} of 40 resets were told`)
  t.match(await world.vm(spec.vmId), { status: /UP|REBOOT/ })
  await client.task('vm', 'DestroyVm', { vmId: spec.vmId })
})

t.test('B21 a flipped bit in the metadata of a volume costs that volume alone', async t => {
  const broken = { imageId: randomUUID() as string, volumeId: randomUUID() as string }
  const own = { storageDomainId, ...broken, capacity: String(2 ** 20), format: 'DISK_FORMAT_QCOW2' }
  await client.task('storage', 'CreateVolume', own)
  const meta = join(
    world.root,
    'shared',
    storageDomainId,
    'images',
    broken.imageId,
    `${broken.volumeId}.meta`
  )
  const whole = await readFile(meta)
  // 'C' of CAP becomes 'B': one bit.
  const flipped = Buffer.from(whole)
  flipped[whole.indexOf('CAP=')]! ^= 1
  await writeFile(meta, flipped)

  const start = (disks: object[]) =>
    client.task('vm', 'StartVm', { vmGeneration: '1', spec: diskless(randomUUID(), { disks }) })
  const refused = await start([{ ...disk, ...broken, diskId: randomUUID() }]).catch((error: unknown) => error)
  t.match(refused, { reason: 'CORRUPT' }, 'DATA_LOSS for that one')
  const { volumes } = await client.call('storage', 'ListVolumes', { storageDomainId })
  t.ok(
    volumes.some((volume: Answer) => volume['volumeId'] === disk.volumeId),
    'the others are listed'
  )
  const { findings } = await client.call('storage', 'AuditStorageDomain', { storageDomainId })
  t.ok(JSON.stringify(findings).includes(broken.volumeId), 'the audit names it')
  const good = diskless(randomUUID(), { disks: [disk] })
  t.equal(
    (await client.task('vm', 'StartVm', { vmGeneration: '1', spec: good }))['state'],
    'TASK_STATE_SUCCEEDED'
  )
  await client.task('vm', 'DestroyVm', { vmId: good.vmId })
  t.equal(
    (await client.call('storage', 'GetStorageDomain', { storageDomainId }))['health'],
    'STORAGE_DOMAIN_HEALTH_ACTIVE'
  )

  await writeFile(meta, whole)
  t.strictSame((await client.call('storage', 'AuditStorageDomain', { storageDomainId }))['findings'], [])
})

t.test('B39 an agent that stood still goes on where it was; VMs do not notice', async t => {
  const spec = diskless()
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  process.kill(world.agentPid, 'SIGSTOP')
  const asked = client.task('vm', 'PauseVm', { requestId: randomUUID(), vmId: spec.vmId })
  await setTimeout(8000)
  const qemus = await world.libvirtd.pids('qemu-system-x86')
  process.kill(world.agentPid, 'SIGCONT')
  t.equal(qemus.length, 1)
  t.equal((await asked)['state'], 'TASK_STATE_SUCCEEDED', 'what was asked meanwhile is done')
  t.match(await world.vm(spec.vmId), { status: 'VM_STATUS_PAUSED' })
  await client.task('vm', 'DestroyVm', { vmId: spec.vmId })
})
