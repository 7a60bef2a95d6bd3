import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { PrivateLibvirtd } from '../libvirt/private-libvirtd.js'
import { AgentClient, type Answer } from './client.js'
import { root as checkout } from '../../root.js'

// Built by `npm test`: starting from source takes many times longer.
const main = join(checkout, 'dist/agent/main.js')

/** Settings of agent.toml that differ from the test's own. */
export type Settings = Record<string, string | number | boolean | string[]>

/** A real agent in a process of its own, over a real libvirtd, with directories of its own. */
export class AgentWorld {
  readonly root: string
  readonly libvirtd: PrivateLibvirtd
  readonly client: AgentClient
  #agent: ChildProcess | null = null
  readonly #settings: Settings
  readonly #mountsOf: number | null

  /**
   * `prepare` puts into the state directory what an enrolment would have. `mountsOf` is a process whose mounts the
   * agent shares; they outlive it, and with them the loop devices that it makes.
   */
  static async start(
    settings: Settings = {},
    variables: Record<string, string> = {},
    prepare: (stateDirectory: string) => Promise<void> = async () => {},
    mountsOf: number | null = null
  ): Promise<AgentWorld> {
    const root = await mkdtemp('/tmp/drover-agent-')
    await mkdir(join(root, 'pki'))
    const qemu = `migrate_tls_x509_cert_dir = "${join(root, 'pki')}"\nmigrate_tls_x509_verify = 1\n`
    const libvirtd = await PrivateLibvirtd.start({ qemu })
    const world = new AgentWorld(root, libvirtd, settings, mountsOf)
    await mkdir(join(root, 'state'))
    await prepare(join(root, 'state'))
    try {
      await world.startAgent(variables)
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(root: string, libvirtd: PrivateLibvirtd, settings: Settings, mountsOf: number | null) {
    this.root = root
    this.libvirtd = libvirtd
    this.#settings = settings
    this.#mountsOf = mountsOf
    this.client = new AgentClient(`unix:${root}/run/agent.sock`)
  }

  /** Until it serves. `DROVER_CRASHPOINTS` among the variables ends it somewhere later. */
  async startAgent(variables: Record<string, string> = {}): Promise<void> {
    const config = join(this.root, 'agent.toml')
    const standard = {
      listen: '127.0.0.1:0',
      state_directory: join(this.root, 'state'),
      run_directory: join(this.root, 'run'),
      import_directory: join(this.root, 'import'),
      libvirt_socket: this.libvirtd.socket,
      migration_tls_directory: join(this.root, 'pki'),
      log_level: 'debug',
      unsafe_without_sanlock: true,
      ...this.#settings
    }
    const lines = Object.entries(standard).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
    await writeFile(config, `${lines.join('\n')}\n`)
    const log = openSync(join(this.root, 'log'), 'a')
    const env = { ...process.env, NODE_ENV: 'test', ...variables }
    // The process stays the same, so that it can be signalled.
    const entered = this.#mountsOf === null ? [] : ['nsenter', '-m', '-t', String(this.#mountsOf), '--']
    const [program = '', ...args] = [...entered, process.execPath, main, 'serve', '--config', config]
    this.#agent = spawn(program, args, { stdio: ['ignore', log, log], env })
    await this.serving()
  }

  async serving(): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      const host = await this.client.call('host', 'GetHost', {}, 2).catch(() => null)
      if (host && !host['recovering']) return
      if (this.#agent?.exitCode !== null) break
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    throw new Error(`the agent does not serve: ${(await this.log()).slice(-3000)}`)
  }

  /** Resolves when the agent is dead, by itself or by this signal. */
  async agentEnds(signal?: NodeJS.Signals): Promise<void> {
    const agent = this.#agent
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return
    const ended = once(agent, 'exit')
    if (signal) agent.kill(signal)
    await ended
  }

  get agentPid(): number {
    return this.#agent?.pid ?? 0
  }

  log(): Promise<string> {
    return readFile(join(this.root, 'log'), 'utf8')
  }

  async vm(vmId: string): Promise<Answer | null> {
    return this.client.call('vm', 'GetVm', { vmId }).catch(() => null)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close()
    await this.agentEnds('SIGKILL')
    await this.libvirtd[Symbol.asyncDispose]()
    await rm(this.root, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** A VM without disks: it runs its firmware, which is all that most verbs need. */
export const diskless = (vmId: string = randomUUID(), more: object = {}) => ({
  vmId,
  name: 'tiny',
  vcpus: 1,
  memoryBytes: String(32 * 2 ** 20),
  ...more
})
