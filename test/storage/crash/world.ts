import { spawn } from 'node:child_process'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { systemClock } from '../../../common/clock.js'
import { commandRunner, type Run } from '../../../common/run.js'
import { bytes, seconds } from '../../../common/units.js'
import type { CopyTarget } from '../../../storage/copy-image.js'
import type { DataProgram } from '../../../storage/data-program.js'
import { Sanlock } from '../../../storage/sanlock.js'
import { type Handlers, WorkerService } from '../../../storage/worker-service.js'
import type { CreateStorageDomain } from '../../../storage/create-storage-domain.js'

const execute = promisify(execFile)

export const ids = {
  storageDomain: '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a',
  dataCenter: '11111111-2222-4333-8444-555555555555',
  image: '0f1e2d3c-4b5a-4697-8877-665544332211',
  otherImage: '0f1e2d3c-4b5a-4697-8877-665544332222',
  base: 'aaaaaaaa-1111-4222-8333-444444444444',
  middle: 'bbbbbbbb-1111-4222-8333-444444444444',
  leaf: 'cccccccc-1111-4222-8333-444444444444',
  template: 'dddddddd-1111-4222-8333-444444444444',
  templateImage: 'dddddddd-2222-4222-8333-444444444444',
  lease: 'eeeeeeee-1111-4222-8333-444444444444',
  unrelatedImage: 'ffffffff-2222-4222-8333-444444444444',
  unrelated: 'ffffffff-1111-4222-8333-444444444444'
}

/** A mounted directory with one storage domain, served as a worker serves it but in this process. */
export type World = {
  root: string
  mount: string
  ask: Handlers
  /** Runs what a verb says to run, as the agent's main process does. */
  program(program: DataProgram | null): Promise<void>
  /** The same storage as a process sees it that has just started. */
  restarted(): World
  /** The same storage once more, for itself. */
  copy(): Promise<World>
  remove(): Promise<void>
  isStorageDomain(): Promise<boolean>
}

export const never = new AbortController().signal

export function worldAt(root: string): World {
  const mount = `${root}/mount`
  const log = pino({ level: 'silent' })
  const run = counted(commandRunner(log))
  const sanlock = new Sanlock({ mode: 'direct', runDirectory: null }, run, systemClock)
  const settings = {
    storageDomainId: ids.storageDomain,
    mount,
    runDirectory: `${root}/run`,
    importDirectory: `${root}/import`,
    uploadDirectory: `${root}/uploads`,
    owner: null,
    sanlock: { mode: 'direct' as const, runDirectory: null },
    logLevel: 'silent'
  }
  const service = new WorkerService(
    settings,
    { run, sanlock, clock: systemClock, log, owner: null, runDirectory: `${root}/run` },
    { onReport: () => {}, onManagerWanted: () => {} }
  )
  const world: World = {
    ...{ root, mount, ask: service.handlers, program: runProgram, restarted: () => worldAt(root) },
    copy: () => copyWorld(world),
    remove: () => removeWorld(world),
    isStorageDomain: async () => existsSync(`${mount}/${ids.storageDomain}/dom_md/metadata`)
  }
  return world
}

let running = 0

export function counted(run: Run): Run {
  return async (...call) => {
    running++
    try {
      return await run(...call)
    } finally {
      running--
    }
  }
}

/** Until no program that an operation started runs any more. */
export async function programsEnded(): Promise<void> {
  while (running > 0) await new Promise(resolve => setImmediate(resolve))
}

export function runProgram(program: DataProgram | null): Promise<void> {
  if (program === null) return Promise.resolve()
  const [command = '', ...args] = program.argv
  const child = spawn(command, args, { cwd: '/', stdio: ['ignore', 'ignore', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code =>
      code === 0 ? resolve() : reject(new Error(`${args.join(' ')} ended with ${code}`))
    )
  })
}

/** The same with something on its standard input, as an upload is written. */
export function feedProgram({ argv }: DataProgram, content: Buffer): Promise<void> {
  const [command = '', ...args] = argv
  const child = spawn(command, args, { cwd: '/', stdio: ['pipe', 'ignore', 'inherit'] })
  child.stdin.end(content)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => (code === 0 ? resolve() : reject(new Error(`${args.join(' ')}: ${code}`))))
  })
}

/** What the agent's main process does with a file that somebody sends: kept, imported, forgotten. */
export async function importUpload(world: World, target: CopyTarget): Promise<void> {
  const content = await readFile(`${world.root}/import/in.qcow2`)
  const upload = { uploadId: ids.otherImage, size: bytes(content.length) }
  await feedProgram(await world.ask.uploadBegin(upload, never), content)
  await world.ask.uploadFinish(upload, never)
  const source = { kind: 'upload' as const, uploadId: upload.uploadId }
  const begun = await world.ask.importBegin({ ...target, source, declared: 'qcow2' }, never)
  await world.program(begun?.program ?? null)
  await world.ask.importFinish(target, never)
  await world.ask.uploadRemove(upload, never)
}

export async function newWorld(): Promise<World> {
  const root = await mkdtemp(`${scratch}/drover-storage-`)
  await mkdir(`${root}/mount`)
  await mkdir(`${root}/import`)
  return worldAt(root)
}

// In memory where there is room: what is tested is the order of acts, not the disk.
const scratch = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** The same files once more, holes and hard links included. */
export async function copyWorld(world: World): Promise<World> {
  const root = await mkdtemp(`${scratch}/drover-storage-`)
  await execute('cp', ['-a', '--sparse=always', `${world.root}/.`, root])
  return worldAt(root)
}

export const removeWorld = (world: World) => rm(world.root, { recursive: true, force: true })

export function newStorageDomain(
  world: World,
  dataCenterId: string | null = ids.dataCenter
): CreateStorageDomain {
  return {
    storageDomainId: ids.storageDomain,
    mount: world.mount,
    kind: 'posix',
    remotePath: '/srv/shared',
    description: 'crash',
    dataCenterId,
    ioTimeout: seconds(1),
    sectorSize: null
  }
}

export async function run(command: string, ...args: string[]): Promise<string> {
  return (await execute(command, args)).stdout
}
