import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import {
  lvmArguments,
  type LvmCommand,
  lvmConfig,
  lvmConfigWithoutPolld,
  lvmEnvironment
} from './lvm-args.js'

// What changes LVM's metadata or the kernel's mappings. Reads are lvm-reader.ts's, so no command of this file is
// ever run to look at something.

export type LvmOptions = {
  /** All that LVM may look at: the storage domain's own. */
  devices: readonly string[]
  /** False on machines without device-mapper. */
  hasDriver: boolean
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

  async #run(command: LvmCommand): Promise<void> {
    const { run, log, hasDriver } = this.#options
    const config = command.kind === 'movePv' ? lvmConfigWithoutPolld : lvmConfig
    const options = { devices: this.#devices, driver: hasDriver, config: withoutAio(config) }
    const args = lvmArguments(command, options)
    try {
      const limit = AbortSignal.timeout(command.kind === 'movePv' ? longest * 60 : longest)
      // When sanlock kills this process because it lost the role, LVM may not write a moment longer either.
      const { stderr } = await run('setpriv', ['--pdeathsig', 'KILL', ...args], limit, {
        env: environment()
      })
      const odd = stderr.split('\n').filter(line => line.trim() !== '' && !expected.test(line))
      if (odd.length > 0) log.warn({ lvm: command.kind, said: odd.slice(0, 10) }, 'LVM warned')
    } catch (cause) {
      throw told(command, cause)
    }
  }
}

/** `use_aio` is heeded only in a file of LVM's: where an administrator named a directory for it, that one is used. */
function environment(): Record<string, string> {
  const directory = process.env['LVM_SYSTEM_DIR']
  return directory === undefined ? lvmEnvironment : { ...lvmEnvironment, LVM_SYSTEM_DIR: directory }
}

/** Few blocks are read at a time: without the kernel's limited contexts for asynchronous I/O that is as fast. */
const withoutAio = (config: string) => config.replace('use_lvmpolld=', 'use_aio=0  use_lvmpolld=')

function told(command: LvmCommand, cause: unknown): unknown {
  if (!Fault.is(cause, 'COMMAND_FAILED')) return cause
  if (/Insufficient free space|insufficient free extents|No free extents/i.test(cause.message)) {
    return new Fault('STORAGE_DOMAIN_FULL', 'the storage domain has no free extents left', { cause })
  }
  const what = `LVM refused ${command.kind}`
  return new Fault('COMMAND_FAILED', `${what}: ${cause.message.split('\n').at(-1) ?? ''}`, { cause })
}
