import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { Fault } from '../../common/fault.js'
import type { Run } from '../../common/run.js'
import { writeDurably } from '../../common/durable-file.js'
import type { DataPrograms } from '../data-programs.js'
import type { TaskRun } from '../tasks.js'
import {
  packageLines,
  refreshArgs,
  removalsIn,
  simulateArgs,
  upgradeArgs,
  upgradesIn,
  wasInterrupted,
  type Upgraded
} from './apt.js'
import { rebootReason, type RebootFacts } from './reboot.js'

export type PackagesOptions = {
  run: Run
  /** apt runs as a unit of systemd: it outlives the agent, whose own package may be replaced. */
  programs: Pick<DataPrograms, 'run'>
  /** Where plans are kept while they are carried out. */
  directory: string
  readFacts(): Promise<RebootFacts>
  /** For tests: another configuration of apt. */
  environment?: Record<string, string>
}
export type WantedUpgrade = { packages: readonly string[]; isRefreshed: boolean; isDryRun: boolean }

/** What an upgrade came to. Kept in the ledger as texts. */
export type UpgradeResult = { packages: string; reboot: string }

/** Upgrades packages by apt. Everything may be asked again: what is done already is not done twice. */
export class Packages {
  readonly #options: PackagesOptions

  constructor(options: PackagesOptions) {
    this.#options = options
  }

  async upgrade(taskId: string, wanted: WantedUpgrade, task: TaskRun): Promise<UpgradeResult> {
    const { packages, isRefreshed, isDryRun } = wanted
    const signal = uncut(task.signal)
    if (isRefreshed) {
      task.progress({ phase: 'reading lists of packages' })
      await this.#apt(`${taskId}-refresh`, refreshArgs(), task, signal)
    }
    const plan =
      (isDryRun ? null : await this.#planOf(taskId)) ?? (await this.#simulate(packages, task.signal))
    if (!isDryRun && plan.length > 0) {
      // Kept: an agent that replaced itself must still know what it did.
      await this.#keep(taskId, plan)
      task.progress({ phase: `upgrading ${plan.length} packages` })
      await this.#install(taskId, packages, task, signal)
    }
    return { packages: packageLines(plan), reboot: rebootReason(await this.#options.readFacts(), plan) }
  }

  async #simulate(packages: readonly string[], signal: AbortSignal): Promise<Upgraded[]> {
    const { run, environment = {} } = this.#options
    const { stdout } = await run('/usr/bin/apt-get', simulateArgs(packages), signal, { env: environment })
    const removed = removalsIn(stdout)
    if (removed.length === 0) return upgradesIn(stdout)
    throw new Fault('WRONG_STATE', `the upgrade would remove ${removed.join(', ')}: a person has to do it`)
  }

  async #install(
    taskId: string,
    packages: readonly string[],
    task: TaskRun,
    signal: AbortSignal
  ): Promise<void> {
    const begin = () => this.#apt(`${taskId}-upgrade`, upgradeArgs(packages), task, signal)
    try {
      await begin()
    } catch (error) {
      if (!(error instanceof Fault) || !wasInterrupted(error.message)) throw error
      await this.#program(`${taskId}-configure`, ['/usr/bin/dpkg', '--configure', '-a'], task, signal)
      await begin()
    }
  }

  #apt(unit: string, args: string[], task: TaskRun, signal: AbortSignal): Promise<void> {
    return this.#program(unit, ['/usr/bin/apt-get', ...args], task, signal)
  }

  async #program(unit: string, argv: string[], task: TaskRun, signal: AbortSignal): Promise<void> {
    const environment = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C', ...this.#options.environment }
    const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    const program = { argv: ['/usr/bin/env', ...settings, ...argv], progress: 'apt' as const }
    await this.#options.programs.run(unit, program, percent => task.progress({ percent }), signal)
  }

  /** Of one upgrade at a time: those of others are over. */
  async #keep(taskId: string, plan: Upgraded[]): Promise<void> {
    const { directory } = this.#options
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const others = (await readdir(directory)).filter(
      name => name.endsWith('.json') && name !== `${taskId}.json`
    )
    for (const name of others) await rm(`${directory}/${name}`, { force: true })
    await writeDurably(this.#file(taskId), JSON.stringify(plan))
  }

  #file(taskId: string): string {
    return `${this.#options.directory}/${taskId}.json`
  }

  async #planOf(taskId: string): Promise<Upgraded[] | null> {
    const text = await readFile(this.#file(taskId), 'utf8').catch(() => null)
    return text === null ? null : (JSON.parse(text) as Upgraded[])
  }
}

/** Whoever cancels waits: packages that are half installed are worse than either version. */
function uncut(signal: AbortSignal): AbortSignal {
  signal.throwIfAborted()
  const end = new AbortController()
  const leave = () => {
    if (Fault.is(signal.reason, 'INTERRUPTED')) end.abort(signal.reason)
  }
  signal.addEventListener('abort', leave, { once: true })
  return end.signal
}
