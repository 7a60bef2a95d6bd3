import { type Clock, sleep } from '../../common/clock.js'
import { orAborted, within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import type { Run } from '../../common/run.js'
import { seconds, type Seconds } from '../../common/units.js'
import { exists } from '../files.js'

/** What multipathd was told, as far as leases depend on it. Null is "not said". */
export type MultipathConfig = {
  pollingInterval: number | null
  /** A number of checks, "fail" or "queue". */
  noPathRetry: string | null
  fastIoFail: string | null
  userFriendlyNames: string | null
}

/** Reads what `multipathd show config` prints: sections with `key "value"` lines; overrides win over defaults. PURE. */
export function parseMultipathConfig(text: string): MultipathConfig {
  const sections = new Map<string, Map<string, string>>()
  let depth = 0
  let section = ''
  for (const line of text.split('\n').map(line => line.trim())) {
    const [, name = ''] = /^(\w+)\s*\{$/.exec(line) ?? []
    if (name !== '') {
      if (depth === 0) section = name
      depth++
    } else if (line === '}') depth--
    else if (depth === 1) {
      const [, key = '', value = ''] = /^(\w+)\s+"?([^"]*)"?$/.exec(line) ?? []
      if (key !== '')
        sections.set(section, (sections.get(section) ?? new Map<string, string>()).set(key, value))
    }
  }
  const said = (key: string) =>
    sections.get('overrides')?.get(key) ?? sections.get('defaults')?.get(key) ?? null
  const polling = said('polling_interval')
  return {
    pollingInterval: polling === null ? null : Number(polling) || null,
    noPathRetry: said('no_path_retry'),
    fastIoFail: said('fast_io_fail_tmo'),
    userFriendlyNames: said('user_friendly_names')
  }
}

/** For how long I/O is kept when the last path is lost; null is "for ever". PURE. */
export function queueingSeconds({ pollingInterval, noPathRetry }: MultipathConfig): Seconds | null {
  if (noPathRetry === 'queue') return null
  const checks = Number(noPathRetry)
  return seconds(Number.isFinite(checks) ? checks * (pollingInterval ?? 5) : 0)
}

/** How many checks multipath may make before it gives up: as long as sanlock keeps the host, and no longer. PURE. */
export const rightNoPathRetry = (ioTimeout: Seconds, pollingInterval: number) =>
  Math.max(1, Math.round((8 * ioTimeout) / pollingInterval))

/** multipathd, where it runs. */
export class Multipath {
  readonly #run: Run
  readonly #clock: Clock

  constructor(run: Run, clock: Clock) {
    this.#run = run
    this.#clock = clock
  }

  async isRunning(signal: AbortSignal): Promise<boolean> {
    return (await exists('/run/multipathd.pid')) && (await this.#ask('show daemon', signal)) !== null
  }

  async config(signal: AbortSignal): Promise<MultipathConfig | null> {
    const text = await this.#ask('show config', signal)
    return text === null ? null : parseMultipathConfig(text)
  }

  /** Waits until it has looked at all that is new: not busy twice, a second apart. Never longer than ten seconds. */
  async settle(signal: AbortSignal): Promise<void> {
    const limit = within(seconds(10), signal)
    for (let idle = 0; idle < 2 && !limit.aborted;) {
      const status = await this.#ask('show status', limit)
      if (status === null) return
      idle = /busy:\s*true/i.test(status) ? 0 : idle + 1
      if (idle < 2) await sleep(this.#clock, seconds(1), limit).catch(() => {})
    }
    signal.throwIfAborted()
  }

  /** After a LUN grew. */
  async resize(name: string, signal: AbortSignal): Promise<void> {
    const said = await this.#ask(`resize map ${name}`, signal)
    if (said !== null && said.trim() !== 'ok')
      throw new Fault('COMMAND_FAILED', `multipath does not take the new size of ${name}: ${said.trim()}`)
  }

  /** Null when the daemon does not answer. */
  async #ask(command: string, signal: AbortSignal): Promise<string | null> {
    const limit = within(seconds(10), signal)
    const asked = this.#run('multipathd', command.split(' '), limit)
    return orAborted(asked, limit).then(
      ({ stdout }) => stdout,
      () => null
    )
  }
}
