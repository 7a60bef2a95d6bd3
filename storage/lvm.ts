import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { lvmArguments, type LvmCommand, lvmEnvironment } from './lvm-args.js'
import { lvmSettingsFor } from './lvm-settings.js'

// What changes LVM's metadata or the kernel's mappings. Reads are lvm-reader.ts's, so no command of this file is
// ever run to look at something.

export type LvmOptions = {
  /** All that LVM may look at: the storage domain's own. */
  devices: readonly string[]
  /** False on machines without device-mapper. */
  hasDriver: boolean
  /** Where LVM's settings are: see lvm-settings.ts. */
  settings: string
  run: Run
  log: Logger
}

/** A command that changes metadata is not ended half-way by an impatient caller, but not waited for for ever. */
const longest = 120_000
const expected = /metadata update is NOT backed up|Activation disabled|ignoring metadata seqno|not zeroed/i

/** One LVM program after the other: each commits its own sequence number, and two would wait for each other anyway. */
export class Lvm {
  readonly #options: LvmOptions
  #devices: readonly string[]
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: LvmOptions) {
    this.#options = options
    this.#devices = options.devices
  }

  get devices(): readonly string[] {
    return this.#devices
  }

  useDevices(devices: readonly string[]): void {
    this.#devices = devices
  }

  /** The caller's signal is looked at between commands only. */
  async change(command: LvmCommand, signal: AbortSignal): Promise<void> {
    const mine = this.#turn.then(() => {
      signal.throwIfAborted()
      return this.#run(command)
    })
    this.#turn = mine.catch(() => {})
    await mine
  }

  /**
   * Several commands to one VG, fed to one LVM that has to start only once: as safe as one after the other, since each
   * commits by itself. Which of them were done is to be read from the metadata.
   */
  async changeAll(vg: string, commands: readonly LvmCommand[], signal: AbortSignal): Promise<void> {
    const mine = this.#turn.then(() => {
      signal.throwIfAborted()
      return this.#runAll(vg, commands)
    })
    this.#turn = mine.catch(() => {})
    await mine
  }

  async #run(command: LvmCommand): Promise<void> {
    const { hasDriver: driver, settings } = this.#options
    const config = command.kind === 'movePv' ? 'global/use_lvmpolld=0' : null
    const args = lvmArguments(command, { devices: this.#devices, driver, config })
    try {
      await this.#start(args, settings, { limit: command.kind === 'movePv' ? longest * 60 : longest })
    } catch (cause) {
      throw told(command, cause)
    }
  }

  async #runAll(vg: string, commands: readonly LvmCommand[]): Promise<void> {
    const { hasDriver: driver, settings } = this.#options
    const filtered = await lvmSettingsFor(settings, vg, this.#devices)
    const options = { devices: null, driver, config: null }
    const input = commands.map(command => `${line(lvmArguments(command, options))}\n`).join('')
    // Its exit code is that of the last command.
    await this.#start(['lvm'], filtered, { input, okCodes: [0, 1, 2, 3, 4, 5] })
  }

  /** When sanlock kills this process because it lost the role, LVM may not write a moment longer either. */
  async #start(
    args: string[],
    settings: string,
    { limit = longest, ...how }: { limit?: number; input?: string; okCodes?: number[] }
  ): Promise<void> {
    const { run, log } = this.#options
    // It would write down each command in a home directory.
    const env = { ...lvmEnvironment, LVM_SYSTEM_DIR: settings, HOME: '/nonexistent' }
    const end = AbortSignal.timeout(limit)
    const { stderr } = await run('setpriv', ['--pdeathsig', 'KILL', ...args], end, { ...how, env })
    const odd = stderr.split('\n').filter(said => said.trim() !== '' && !expected.test(said))
    if (odd.length > 0) log.warn({ lvm: args[1] ?? 'many', said: odd.slice(0, 10) }, 'LVM warned')
  }
}

/** LVM splits a line at spaces, and has its own ideas of quotes: no word of ours has either. */
function line([, ...words]: string[]): string {
  for (const word of words) {
    if (!/^[A-Za-z0-9_.:,+@/=-]+$/.test(word)) throw new Error(`not a word for LVM: ${word}`)
  }
  return words.join(' ')
}

function told(command: LvmCommand, cause: unknown): unknown {
  if (!Fault.is(cause, 'COMMAND_FAILED')) return cause
  if (/Insufficient free space|insufficient free extents|No free extents/i.test(cause.message)) {
    return new Fault('STORAGE_DOMAIN_FULL', 'the storage domain has no free extents left', { cause })
  }
  const what = `LVM refused ${command.kind}`
  return new Fault('COMMAND_FAILED', `${what}: ${cause.message.split('\n').at(-1) ?? ''}`, { cause })
}
