import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readlink, rm, truncate, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { systemClock } from '../../../common/clock.js'
import { commandRunner } from '../../../common/run.js'
import { seconds } from '../../../common/units.js'
import type { CreateBlockStorageDomain } from '../../../storage/create-block-storage-domain.js'
import { Sanlock } from '../../../storage/sanlock.js'
import { type Handlers, WorkerService } from '../../../storage/worker-service.js'
import { ids } from '../../storage/crash/world.js'

// A block storage domain on loop devices over sparse files: LVM is real, device-mapper is used where the kernel
// has it, and loop devices stand in for logical volumes where not.

const execute = promisify(execFile)
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export type BlockWorld = {
  root: string
  devices: string[]
  ask: Handlers
  restarted(): BlockWorld
}

export async function attachLoop(path: string): Promise<string> {
  return (await execute('losetup', ['--find', '--show', '--direct-io=on', path])).stdout.trim()
}

export async function newDevice(root: string, name: string, size: number): Promise<string> {
  const path = `${root}/${name}`
  await writeFile(path, '')
  await truncate(path, size)
  return attachLoop(path)
}

/** A world without a storage domain, on so many devices of 12 GiB (sparse). */
export async function newBlockWorld(count = 1, size = 12 * 2 ** 30): Promise<BlockWorld> {
  const root = await mkdtemp(`${scratch}/drover-block-`)
  const devices: string[] = []
  for (let n = 0; n < count; n++) devices.push(await newDevice(root, `pv${n}.img`, size))
  return blockWorldAt(root, devices)
}

export function blockWorldAt(
  root: string,
  devices: string[],
  storageDomainId: string = ids.storageDomain,
  onRun: (command: string, args: string[]) => void = () => {}
): BlockWorld {
  const log = pino({ level: process.env['DROVER_TEST_LOG'] ?? 'silent' }, pino.destination(2))
  const plain = commandRunner(log)
  const run: typeof plain = (command, args, ...rest) => {
    onRun(command, args)
    return plain(command, args, ...rest)
  }
  const sanlock = new Sanlock({ mode: 'direct', runDirectory: null }, run, systemClock)
  const runDirectory = `${root}/run`
  const settings = {
    ...{ storageDomainId, mount: '', devices, runDirectory, importDirectory: `${root}/import`, owner: null },
    ...{ sanlock: { mode: 'direct' as const, runDirectory: null }, logLevel: 'silent' }
  }
  const service = new WorkerService(
    settings,
    { run, sanlock, clock: systemClock, log, owner: null, runDirectory },
    () => {}
  )
  return {
    root,
    devices,
    ask: service.handlers,
    restarted: () => blockWorldAt(root, devices, storageDomainId, onRun)
  }
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
      await execute('losetup', ['--detach', loop]).catch(() => {})
    }
  }
  for (const device of devices) await execute('losetup', ['--detach', device]).catch(() => {})
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
