import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { MiB } from '../../../common/units.js'
import {
  backupXml,
  beginBackup,
  checkpointNames,
  checkpointXml,
  createCheckpoint,
  deleteCheckpoint
} from '../../../libvirt/backup.js'
import * as block from '../../../libvirt/block-job.js'
import type { Domain } from '../../../libvirt/domain.js'
import { isVirError } from '../../../libvirt/errors.js'
import { abortJob, completedJobStats, jobStats } from '../../../libvirt/migration.js'
import { monitorCommand } from '../../../libvirt/monitor.js'
import { takeSnapshot } from '../../../libvirt/snapshot.js'
import { domainStats } from '../../../libvirt/stats.js'
import { until } from '../../libvirt/manual-clock.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(120_000)

const world = await libvirtWorld()
t.teardown(() => world[Symbol.asyncDispose]())

const run = promisify(execFile)
const qcow2 = (path: string, ...more: string[]) =>
  run('qemu-img', ['create', '-q', '-f', 'qcow2', ...more, path, '64M'])

/** A guest with one disk, and a way to write to it without an operating system. */
async function worldWithDisk() {
  const folder = await mkdtemp(join(world.daemon.root, 'disk-'))
  const path = (name: string) => join(folder, name)
  await qcow2(path('base'))
  const disk = `
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='${path('base')}'/>
      <target dev='vda' bus='virtio'/>
    </disk>`
  const guest = await world.boot({ devices: disk })
  const write = (range: string) =>
    monitorCommand(
      guest,
      `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 7 ${range}"`,
      { human: true },
      soon()
    )
  /** A new leaf over the old one, and a switch to it. */
  const snapshot = async (name: string, under: string) => {
    // Relative to the image, as in our storage domains.
    await qcow2(path(name), '-b', under, '-F', 'qcow2')
    const xml = `<domainsnapshot><disks><disk name='vda' snapshot='external'><source file='${path(name)}'/><driver type='qcow2'/></disk></disks></domainsnapshot>`
    await takeSnapshot(guest, xml, { withMemory: false }, soon())
  }
  const chain = async (name: string) => {
    const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', '--backing-chain', path(name)])
    return (JSON.parse(stdout) as Array<{ filename: string }>).map(({ filename }) => filename)
  }
  return { ...world, guest, path, write, snapshot, chain }
}

const ready = (w: Awaited<ReturnType<typeof worldWithDisk>>, status: string, nth = 1) =>
  until(
    `block job ${status}`,
    () =>
      w.events.filter(e => e.kind === 'blockJob' && e.uuid === w.guest.uuid && e.status === status).length >=
      nth
  )

/** The N of `vda[N]` for the leaf. */
async function leafIndex(guest: Domain): Promise<number> {
  const xml = await guest.xml(soon())
  return Number(/<source file='[^']*' index='(\d+)'/.exec(xml)?.[1])
}

t.test('a threshold tells once how far the guest has written', async t => {
  const w = await worldWithDisk()
  const index = await leafIndex(w.guest)
  await block.setBlockThreshold(w.guest, `vda[${index}]`, MiB(4), soon())
  await w.write('0 8M')
  const event = await w.event('blockThreshold', w.guest)
  t.match(event, { dev: `vda[${index}]`, threshold: MiB(4) })
  t.ok(event.excess > 0)

  const info = await block.blockInfo(w.guest, 'vda', soon())
  t.ok(info.allocation >= MiB(8), `${info.allocation} allocated`)
  t.equal(info.capacity, MiB(64))
  const [stats] = await domainStats(
    w.libvirt,
    { groups: ['block'], backing: true, uuids: [w.guest.uuid] },
    soon()
  )
  t.match(stats?.disks, [{ name: 'vda', backingIndex: index, capacity: MiB(64), path: w.path('base') }])
  const failure = await block
    .setBlockThreshold(w.guest, 'vdz[1]', MiB(4), soon())
    .catch((error: unknown) => error)
  t.ok(isVirError(failure, 'INVALID_ARG'))
  t.strictSame(await block.diskErrors(w.guest, soon()), [])
})

t.test('snapshot, commit of a middle volume, commit of the leaf with pivot', async t => {
  const w = await worldWithDisk()
  await w.write('0 1M')
  await w.snapshot('middle', 'base')
  await w.write('1M 1M')
  await w.snapshot('leaf', 'middle')
  await w.write('2M 1M')
  t.strictSame(await w.chain('leaf'), ['leaf', 'middle', 'base'].map(w.path))

  await block.blockCommit(w.guest, 'vda', { base: w.path('base'), top: w.path('middle') }, soon())
  await ready(w, 'completed')
  t.strictSame(await w.chain('leaf'), ['leaf', 'base'].map(w.path))

  await block.blockCommit(w.guest, 'vda', { base: null, top: null }, soon())
  await ready(w, 'ready')
  const info = await block.blockJobInfo(w.guest, 'vda', soon())
  t.match(info, { type: 'active_commit' })
  t.equal(info?.current, info?.end)
  const second = await block
    .blockCommit(w.guest, 'vda', { base: null, top: null }, soon())
    .catch((error: unknown) => error)
  t.ok(isVirError(second, 'BLOCK_COPY_ACTIVE'), 'one job for a disk at a time')
  await block.pivotBlockJob(w.guest, 'vda', soon())
  await ready(w, 'completed', 2)
  t.match(await w.guest.xml(soon()), new RegExp(`<source file='${w.path('base')}'`))
  t.equal(await block.blockJobInfo(w.guest, 'vda', soon()), null)
})

t.test('a copy is mirrored, slowed down, called off; and another is pivoted to', async t => {
  const w = await worldWithDisk()
  await w.write('0 32M')
  await qcow2(w.path('copy'))
  const destinationXml = `<disk type='file'><source file='${w.path('copy')}'/><driver type='qcow2'/></disk>`
  await block.blockCopy(w.guest, 'vda', { destinationXml, bandwidth: 2 ** 20 }, soon())
  await block.setBlockJobSpeed(w.guest, 'vda', 2 * 2 ** 20, soon())
  t.match(await block.blockJobInfo(w.guest, 'vda', soon()), { type: 'copy', bandwidth: 2 * 2 ** 20 })
  await block.cancelBlockJob(w.guest, 'vda', soon())
  await ready(w, 'canceled')
  await block.blockCopy(w.guest, 'vda', { destinationXml }, soon())
  await ready(w, 'ready')
  await block.pivotBlockJob(w.guest, 'vda', soon())
  await ready(w, 'completed')
  t.match(await w.guest.xml(soon()), new RegExp(`<source file='${w.path('copy')}'`))

  await w.snapshot('leaf', 'copy')
  await block.blockPull(w.guest, 'vda', {}, soon())
  await ready(w, 'completed', 2)
  t.strictSame(await w.chain('leaf'), [w.path('leaf')])
  await block.blockResize(w.guest, 'vda', MiB(128), soon())
  t.equal((await block.blockInfo(w.guest, 'vda', soon())).capacity, MiB(128))
})

t.test('full backup, changes, incremental backup by NBD: checkpoints know what changed', async t => {
  const w = await worldWithDisk()
  await w.write('0 4M')
  const push = `<domainbackup><disks><disk name='vda' type='file'><target file='${w.path('full')}'/><driver type='qcow2'/></disk></disks></domainbackup>`
  await beginBackup(
    w.guest,
    { backupXml: push, checkpointXml: '<domaincheckpoint><name>c1</name></domaincheckpoint>' },
    soon()
  )
  const done = await w.event('jobCompleted', w.guest)
  t.equal(done.params['success'], true)
  t.match(await completedJobStats(w.guest, soon()), {
    state: 'completed',
    operation: 'backup',
    success: true
  })
  t.strictSame(await checkpointNames(w.guest, soon()), ['c1'])

  await w.write('8M 1M')
  t.match(
    await checkpointXml(w.guest, 'c1', { withSizes: true }, soon()),
    /<disk [^>]*name='vda'[^>]*size='1048576'/
  )
  const pull = `<domainbackup mode='pull'><incremental>c1</incremental><server transport='unix' socket='${w.path('nbd')}'/><disks><disk name='vda' backup='yes' type='file'><scratch file='${w.path('scratch')}'/></disk></disks></domainbackup>`
  await beginBackup(w.guest, { backupXml: pull }, soon())
  t.match(await backupXml(w.guest, soon()), /mode='pull'/)
  t.match(await jobStats(w.guest, soon()), { operation: 'backup' })
  const { stdout } = await run('qemu-img', [
    'info',
    '--output=json',
    `nbd+unix:///vda?socket=${w.path('nbd')}`
  ])
  t.equal((JSON.parse(stdout) as Record<string, unknown>)['virtual-size'], MiB(64))
  await abortJob(w.guest, soon())
  await until('it is over', async () => (await backupXml(w.guest, soon())) === null)

  await createCheckpoint(w.guest, '<domaincheckpoint><name>c2</name></domaincheckpoint>', soon())
  t.strictSame(await checkpointNames(w.guest, soon()), ['c1', 'c2'])
  for (const name of ['c2', 'c1']) await deleteCheckpoint(w.guest, name, { recordOnly: false }, soon())
  t.strictSame(await checkpointNames(w.guest, soon()), [])
})
