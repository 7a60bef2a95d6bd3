import { spawn } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { build } from 'esbuild'
import { armCrashpoint, onHang } from '../../../common/crashpoint.js'
import { MiB } from '../../../common/units.js'
import { assert, type Operation, operations } from './operations.js'
import { ids, never, newWorld, programsEnded, type World } from './world.js'
import { root } from '../../root.js'

process.env['NODE_ENV'] = 'test'

/** Operations, the world they begin in, and the program that runs one of them in a process of its own. */
export type Suite = {
  operations: Record<string, Operation>
  newWorld(): Promise<World>
  child: string
}
export const fileSuite: Suite = { operations, newWorld, child: 'test/storage/crash/child.ts' }

/** The child as one file: it starts in a tenth of the time. It lies in the tree, where packages are found. */
export async function buildChild(
  source = fileSuite.child
): Promise<{ path: string; remove(): Promise<void> }> {
  await mkdir(`${root}/build`, { recursive: true })
  const path = `${root}/build/crash-child-${process.pid}.mjs`
  await build({
    entryPoints: [`${root}/${source}`],
    outfile: path,
    bundle: true,
    format: 'esm',
    platform: 'node',
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)"
    },
    target: 'node20',
    logLevel: 'error'
  })
  return { path, remove: () => rm(path, { force: true }) }
}

type Ending = { code: number | null; signal: string | null; stderr: string }

export function runChild(path: string, name: string, world: World, crashpoints: string): Promise<Ending> {
  const env = {
    PATH: process.env['PATH'],
    NODE_ENV: 'test',
    DROVER_CRASHPOINTS: crashpoints,
    DROVER_CRASHPOINTS_LOG: `${world.root}/points`
  }
  const child = spawn(process.execPath, [path, name, world.root], {
    env,
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let stderr = ''
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stderr }))
  })
}

/** The same name a second time gets its number. */
function numbered(text: string): string[] {
  const seen = new Map<string, number>()
  return text
    .split('\n')
    .filter(point => point !== '')
    .map(point => {
      const passage = (seen.get(point) ?? 0) + 1
      seen.set(point, passage)
      return passage === 1 ? point : `${point}#${passage}`
    })
}

export async function preparedWorld(operation: Operation, suite: Suite = fileSuite): Promise<World> {
  const world = await suite.newWorld()
  await operation.prepare(world)
  return world
}

/** What an agent does when it starts again: it sweeps. Then nothing may be wrong but what the operation owns. */
async function recover(world: World, operation: Operation): Promise<void> {
  if (!(await world.isStorageDomain())) return
  const restarted = world.restarted()
  await restarted.ask.sweep({}, never)
  const findings = await restarted.ask.audit({ intents: operation.intents }, never)
  assert(findings.length === 0, `after recovery: ${JSON.stringify(findings)}`)
}

/** Names in the order of their passage, by a run in this process. */
export async function pointsOf(name: string, world: World, suite: Suite = fileSuite): Promise<string[]> {
  process.env['DROVER_CRASHPOINTS_LOG'] = `${world.root}/points`
  await writeFile(`${world.root}/points`, '')
  armCrashpoint('record')
  try {
    await named(name, suite).run(world.restarted())
  } finally {
    armCrashpoint(null)
  }
  return numbered(await readFile(`${world.root}/points`, 'utf8'))
}

/** One fault at one point: recovered, asked again, its effect there once, the storage domain usable. */
export async function survives(
  name: string,
  prepared: World,
  end: (world: World) => Promise<void>,
  suite: Suite = fileSuite
): Promise<void> {
  const operation = named(name, suite)
  const world = await prepared.copy()
  try {
    await end(world)
    await recover(world, operation)
    const again = world.restarted()
    await operation.run(again)
    await operation.check(again)
    const findings = (await world.isStorageDomain()) ? await again.ask.audit({ intents: [] }, never) : []
    assert(findings.length === 0, `after the repeat: ${JSON.stringify(findings)}`)
    await unrelated(world)
  } finally {
    await world.remove()
  }
}

/** The process is killed there. */
export async function killed(child: string, name: string, world: World, point: string): Promise<void> {
  const { code, signal, stderr } = await runChild(child, name, world, `kill@${point}`)
  assert(signal === 'SIGKILL', `it was not killed at ${point}: ${code} ${stderr}`)
}

/** It gets no further, as if killed, but in this process: what runs beside it comes to its end. */
export async function stuck(
  name: string,
  world: World,
  point: string,
  suite: Suite = fileSuite
): Promise<void> {
  armCrashpoint(`hang@${point}`)
  let isThere = false
  const reached = new Promise<'stuck'>(resolve => onHang(() => resolve('stuck')))
  try {
    const outcome = await Promise.race([
      named(name, suite)
        .run(world)
        .then(() => 'done'),
      reached
    ])
    isThere = outcome === 'stuck'
    await programsEnded()
  } finally {
    armCrashpoint(null)
  }
  assert(isThere, `it never came to ${point}`)
}

/** The act after the point fails. */
export async function failed(
  name: string,
  world: World,
  point: string,
  suite: Suite = fileSuite
): Promise<void> {
  armCrashpoint(`eio@${point}`)
  const outcome = await named(name, suite)
    .run(world)
    .then(
      () => 'done',
      () => 'failed'
    )
    .finally(() => armCrashpoint(null))
  assert(outcome === 'failed', `the error at ${point} was swallowed`)
}

/** The act after the point is done a second time. */
export async function repeated(
  name: string,
  world: World,
  point: string,
  suite: Suite = fileSuite
): Promise<void> {
  armCrashpoint(`twice@${point}`)
  try {
    await named(name, suite).run(world)
  } finally {
    armCrashpoint(null)
  }
}

function named(name: string, suite: Suite): Operation {
  const operation = suite.operations[name]
  assert(operation !== undefined, `no operation ${name}`)
  return operation
}

async function unrelated(world: World): Promise<void> {
  if (!(await world.isStorageDomain())) return
  const { ask } = world.restarted()
  const request = {
    ...{
      imageId: ids.unrelatedImage,
      volumeId: ids.unrelated,
      parent: null,
      capacity: MiB(1),
      format: 'raw' as const
    },
    ...{ allocation: 'thin' as const, diskContent: 'DATA', description: '', legal: true }
  }
  await ask.createVolume(request, never)
  await ask.removeImage({ imageId: ids.unrelatedImage, wipe: false }, never)
}
