import { appendFileSync } from 'node:fs'

// DROVER_CRASHPOINTS   "record", or "MODE@NAME" or "MODE@NAME#N" (the N-th passage, from 1)
//   record              append each name to the file DROVER_CRASHPOINTS_LOG and go on
//   kill                SIGKILL this process
//   eio, enospc         throw an error with that code
//   hang                never go on
//   stop                SIGSTOP this process; the harness sends SIGCONT
//   twice               seen by runTwice(): the step after the point runs a second time
// Only with NODE_ENV=test; set without it, the program refuses to run.
type Armed = { mode: string; name: string; passage: number }

const setting = process.env['DROVER_CRASHPOINTS']
if (setting && process.env['NODE_ENV'] !== 'test') {
  throw new Error('DROVER_CRASHPOINTS is for tests: NODE_ENV=test is not set')
}
let armed = setting ? parse(setting) : null
let passages = 0
let hung: (() => void) | null = null

/** Tells a harness that the armed point was reached and holds. */
export function onHang(tell: () => void): void {
  hung = tell
}

/** Arms another point in a program that runs, or none: for harnesses that try one after the other. */
export function armCrashpoint(text: string | null): void {
  if (process.env['NODE_ENV'] !== 'test')
    throw new Error('crash points are for tests: NODE_ENV=test is not set')
  armed = text === null ? null : parse(text)
  passages = 0
}

/** Stands between every two durable acts, so that a test can end the program there. */
export async function crashpoint(name: string): Promise<void> {
  if (armed === null) return
  if (armed.mode === 'record') return record(name)
  if (armed.name !== name || ++passages !== armed.passage) return
  switch (armed.mode) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL')
      return new Promise(() => {})
    case 'hang':
      return new Promise(() => {
        const forever = setInterval(() => {}, 60_000)
        if (hung === null) return
        // A harness in this process was told, and must be able to end.
        forever.unref()
        hung()
      })
    case 'stop':
      process.kill(process.pid, 'SIGSTOP')
      return
    case 'eio':
    case 'enospc':
      throw Object.assign(new Error(`injected ${armed.mode} at ${name}`), { code: armed.mode.toUpperCase() })
    default:
      return
  }
}

/** Runs a step, and once more where a test asked for it: every step must bear that. */
export async function idempotent<T>(name: string, step: () => Promise<T>): Promise<T> {
  await crashpoint(name)
  if (armed?.mode === 'twice' && armed.name === name) await step()
  return step()
}

function parse(text: string): Armed {
  const [mode = '', rest = ''] = text.split('@')
  const [name = '', passage = '1'] = rest.split('#')
  return { mode, name, passage: Number(passage) }
}

function record(name: string): void {
  appendFileSync(process.env['DROVER_CRASHPOINTS_LOG'] ?? '/dev/stderr', `${name}\n`)
}
