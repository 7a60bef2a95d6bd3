import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { orAborted, within } from '../../common/deadline.js'
import type { Logger } from '../../common/log.js'
import { seconds } from '../../common/units.js'
import type { LunContent } from './lun-contents.js'
import type { ProbeLine } from './lun-probe.js'
import type { Lun } from './luns.js'

/** Programs that a hung disk keeps from ending; more are not started. */
const mostStuck = 4

/** Reads what is on LUNs, in programs of their own. Those that do not answer in time are null. */
export class LunProber {
  readonly #log: Logger
  readonly #stuck = new Set<number>()

  constructor(log: Logger) {
    this.#log = log
  }

  async probe(luns: readonly Lun[], signal: AbortSignal): Promise<Map<string, LunContent[]>> {
    const found = new Map<string, LunContent[]>()
    if (luns.length === 0 || this.#stuck.size >= mostStuck) return found
    const byNode = new Map(luns.map(lun => [lun.node, lun.wwid]))
    const child = spawn(
      process.execPath,
      [...program(), ...luns.map(({ node, size }) => `${node}=${size}`)],
      {
        cwd: '/',
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', UV_THREADPOOL_SIZE: '64' },
        stdio: ['ignore', 'pipe', 'ignore']
      }
    )
    const pid = child.pid ?? 0
    this.#stuck.add(pid)
    const ended = new Promise<void>(resolve => {
      const end = () => {
        this.#stuck.delete(pid)
        resolve()
      }
      child.once('close', end)
      child.once('error', end)
    })
    let begin = () => {}
    const begun = new Promise<void>(resolve => (begin = resolve))
    createInterface({ input: child.stdout }).on('line', text => {
      const line = JSON.parse(text) as ProbeLine
      if ('begun' in line) return begin()
      const wwid = byNode.get(line.device)
      if (wwid !== undefined && 'contents' in line) found.set(wwid, line.contents)
      else if ('problem' in line) this.#log.warn({ lun: wwid, problem: line.problem }, 'lun cannot be read')
    })
    try {
      // Its start is bounded apart: a busy machine is no silent disk.
      await orAborted(Promise.race([begun, ended]), within(seconds(60), signal))
      await orAborted(ended, within(seconds(15), signal))
    } catch {
      // It sits in the kernel until its disk answers; it dies then, and is not waited for.
      child.kill('SIGKILL')
      child.unref()
      child.stdout.destroy()
      signal.throwIfAborted()
      this.#log.warn({ silent: luns.length - found.size }, 'luns do not answer')
    }
    return found
  }
}

function program(): string[] {
  const isSource = import.meta.filename.endsWith('.ts')
  const path = `${import.meta.dirname}/lun-probe.${isSource ? 'ts' : 'js'}`
  return isSource ? ['--import', import.meta.resolve('tsx'), path] : [path]
}
