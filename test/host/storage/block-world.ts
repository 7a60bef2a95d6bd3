import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { systemClock } from '../../../common/clock.js'
import { commandRunner } from '../../../common/run.js'
import { seconds } from '../../../common/units.js'
import type { CreateBlockStorageDomain } from '../../../storage/create-block-storage-domain.js'
import { Sanlock } from '../../../storage/sanlock.js'
import { BlockGroup, type Group } from '../../../storage/block-group.js'
import { discoverOnDevices } from '../../../storage/discover-on-devices.js'
import { WorkerService } from '../../../storage/worker-service.js'
import { counted, ids, runProgram, type World } from '../../storage/crash/world.js'

// A block storage domain on loop devices over sparse files: LVM is real, device-mapper is used where the kernel
// has it, and loop devices stand in for logical volumes where not.

const execute = promisify(execFile)
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export type BlockWorld = World & {
  devices: string[]
  restarted(): BlockWorld
  copy(): Promise<BlockWorld>
  /** What LVM's metadata says now, read as any host reads it. */
  group(): Promise<Group>
}

export async function attachLoop(path: string): Promise<string> {
  // Debian's kernel has no direct I/O in memory.
  const words = ['--find', '--show', path]
  const made = execute('losetup', ['--direct-io=on', ...words]).catch(() => execute('losetup', words))
  return (await made).stdout.trim()
}

export async function newDevice(root: string, name: string, size: number): Promise<string> {
  const path = `${root}/${name}`
  await writeFile(path, '')
  await truncate(path, size)
  return attachLoop(path)
}

const GiB = 2 ** 30

/** A world without a storage domain, on sparse devices of these sizes. */
export async function newBlockWorld(sizes = [12 * GiB, 2 * GiB]): Promise<BlockWorld> {
  const root = await mkdtemp(`${scratch}/drover-block-`)
  const devices: string[] = []
  for (const [n, size] of sizes.entries()) devices.push(await newDevice(root, `pv${n}.img`, size))
  await mkdir(`${root}/import`)
  await writeFile(`${root}/devices`, devices.join('\n'))
  return blockWorldAt(root, devices)
}

export function blockWorldAt(
  root: string,
  devices: string[],
  storageDomainId: string = ids.storageDomain,
  onRun: (command: string, args: string[]) => void = () => {}
): BlockWorld {
  const log = pino({ level: process.env['DROVER_TEST_LOG'] ?? 'silent' }, pino.destination(2))
  const plain = counted(commandRunner(log))
  const run: typeof plain = (command, args, ...rest) => {
    onRun(command, args)
    return plain(command, args, ...rest)
  }
  const sanlock = new Sanlock({ mode: 'direct', runDirectory: null }, run, systemClock)
  const runDirectory = `${root}/run`
  const settings = {
    ...{ storageDomainId, mount: '', devices, runDirectory, importDirectory: `${root}/import`, owner: null },
    uploadDirectory: `${root}/uploads`,
    ...{ sanlock: { mode: 'direct' as const, runDirectory: null }, logLevel: 'silent' }
  }
  const tools = { run, sanlock, clock: systemClock, log, owner: null, runDirectory }
  const service = new WorkerService(settings, tools, { onReport: () => {}, onManagerWanted: () => {} })
  const world: BlockWorld = {
    ...{ root, mount: '', devices, ask: service.handlers, program: runProgram },
    restarted: () => blockWorldAt(root, devices, storageDomainId, onRun),
    copy: () => copyBlockWorld(world),
    remove: () => removeBlockWorld(world),
    isStorageDomain: async () => (await discoverOnDevices(devices, tools)).length > 0,
    group: async () => (await BlockGroup.on(storageDomainId, devices, runDirectory, tools)).read()
  }
  return world
}

/** The same bytes on devices of their own; what was active on the host is not. */
async function copyBlockWorld({ root, devices }: BlockWorld): Promise<BlockWorld> {
  const copy = await mkdtemp(`${scratch}/drover-block-`)
  const names = (await readdir(root)).filter(name => name !== 'run')
  await execute('cp', ['-a', '--sparse=always', ...names.map(name => `${root}/${name}`), copy])
  const loops = []
  for (let n = 0; n < devices.length; n++) loops.push(await attachLoop(`${copy}/pv${n}.img`))
  const world = blockWorldAt(copy, loops)
  await writeFile(`${copy}/devices`, loops.join('\n'))
  return world
}

export function newBlockStorageDomain(
  world: BlockWorld,
  dataCenterId: string | null = ids.dataCenter
): CreateBlockStorageDomain {
  return {
    storageDomainId: ids.storageDomain,
    devices: world.devices,
    kind: 'iscsi',
    description: 'block',
    dataCenterId,
    ioTimeout: seconds(1)
  }
}

/** Takes every loop device away that this world made, with what it stands for. */
export async function removeBlockWorld({ root, devices }: BlockWorld): Promise<void> {
  const groups = await readdir(`${root}/run/loops`).catch(() => [])
  for (const group of groups) {
    for (const name of await readdir(`${root}/run/loops/${group}`)) {
      const loop = await readlink(`${root}/run/loops/${group}/${name}`)
      const sys = `/sys/block/${basename(loop)}/loop/backing_file`
      const backing = await readFile(sys, 'utf8').catch(() => '')
      if (!devices.includes(backing.trim())) continue
      await execute('losetup', ['--detach', loop]).catch(() => {})
    }
  }
  for (const device of devices) {
    const sys = `/sys/block/${basename(device)}/loop/backing_file`
    const backing = await readFile(sys, 'utf8').catch(() => '')
    if (backing.startsWith(`${root}/`)) await execute('losetup', ['--detach', device]).catch(() => {})
  }
  await rm(root, { recursive: true, force: true })
}

export const skipped: string | false =
  process.getuid?.() !== 0
    ? 'needs root for loop devices'
    : !existsSync('/sbin/lvm') && !existsSync('/usr/sbin/lvm')
      ? 'needs lvm2'
      : !existsSync('/dev/loop-control')
        ? 'needs loop devices'
        : false
