import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../../root.js'
import type { Answer } from './client.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'
import { storageDomain } from './storage.js'
import { diskless } from './world.js'

// A guest with an agent that moved to another host and boots again there: it reports as before, and its host knows it
// as the same VM.

t.setTimeout(280_000)

const execute = promisify(execFile)
const folder = await mkdtemp('/tmp/drover-arrived-')
const house = await cluster(2, {
  migration_first_port: 30_000 + Math.floor(Math.random() * 10_000),
  allowed_directories: ['/tmp'],
  unsafe_shared_filesystem: true
})
t.teardown(async () => {
  await house[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true, maxRetries: 20 })
})
const [a, b] = house.hosts as [ClusterHost, ClusterHost]

const vmOn = async ({ world }: ClusterHost, vmId: string): Promise<Answer> => (await world.vm(vmId)) ?? {}
async function until<T>(what: string, ask: () => Promise<T | null | false>): Promise<T> {
  for (let tries = 0; tries < 1800; tries++) {
    const answer = await ask()
    if (answer !== null && answer !== false) return answer
    await setTimeout(100)
  }
  throw new Error(`never: ${what}`)
}

const path = join(folder, 'shared')
const { storageDomainId, disk } = await storageDomain(a.world, path)
const image = join(folder, 'guest.qcow2')
await execute(join(root, 'test/lab/guest/build-image.sh'), [image])
const volume = join(path, storageDomainId, 'images', disk.imageId, disk.volumeId)
await execute('qemu-img', ['convert', '-f', 'qcow2', '-O', 'qcow2', image, volume])
await b.world.client.task('storage', 'ConnectStorageDomain', {
  storageDomainId,
  connection: { posix: { path } }
})
await b.world.client.task('storage', 'ActivateStorageDomain', { storageDomainId, sanlockHostId: 2 })

const spec = diskless(randomUUID(), { memoryBytes: String(192 * 2 ** 20), disks: [disk] })
const { vmId } = spec
/** Heard after this moment. */
const reports = (host: ClusterHost, after: number) =>
  until('the guest agent reports', async () => {
    const vm = await vmOn(host, vmId)
    const seen = Number(vm['guest']?.seen?.seconds ?? 0) * 1000
    return vm['guest']?.connected && seen > after && vm['status'] === 'VM_STATUS_UP' ? vm : null
  })

/** What somebody types at its console. */
async function typed(host: ClusterHost, text: string): Promise<void> {
  const console = host.world.client.bidi('vm', 'OpenConsole')
  console.on('data', () => {})
  console.on('error', () => {})
  console.write({ open: { vmId } })
  console.write({ data: Buffer.from(text) })
  await setTimeout(1000)
  console.end()
}

async function move(from: ClusterHost, to: ClusterHost): Promise<void> {
  const request = stamped({ vmGeneration: '1', spec, sourceHostId: from.hostId })
  const { migrationAddress } = await to.coordinator.mutate('vm', 'PrepareIncoming', request)
  const way = { vmGeneration: '1', destinationHostId: to.hostId, migrationAddress }
  const task = await from.coordinator.task('vm', 'MigrateVm', stamped({ vmId, ...way }))
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
}

const hereAsBefore = { status: 'VM_STATUS_UP', vmGeneration: '1', foreign: '', failure: null }

t.test('a guest reports where it was started, and where it moved', async t => {
  await a.coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec }))
  t.match(await reports(a, 0), { guest: { hostname: 'guest', osName: /Drover/ } })
  await move(a, b)
  t.match(await reports(b, Date.now()), hereAsBefore)
})

t.test('one that reboots itself where it moved reports again', async t => {
  await typed(b, 'reboot -f\n')
  await until('it boots', async () => (await vmOn(b, vmId))['status'] === 'VM_STATUS_REBOOT_IN_PROGRESS')
  t.match(await reports(b, Date.now()), hereAsBefore)
})

t.test('one that is asked to reboot does too, and can go back to where it came from', async t => {
  await b.coordinator.task('vm', 'RebootVm', stamped({ vmId }))
  t.equal((await vmOn(b, vmId))['status'], 'VM_STATUS_REBOOT_IN_PROGRESS')
  await until('it went down', async () => (await vmOn(b, vmId))['guest']?.connected === false)
  t.match(await reports(b, Date.now()), hereAsBefore)
  await move(b, a)
  t.match(await reports(a, Date.now()), hereAsBefore)
  for (const host of [a, b]) await host.coordinator.task('vm', 'DestroyVm', stamped({ vmId }))
})
