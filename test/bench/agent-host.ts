import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AgentClient } from '../host/agent/client.js'
import { PrivateLibvirtd } from '../host/libvirt/private-libvirtd.js'
import { findBelow } from './cpu.js'
import { root } from '../root.js'

const main = join(root, 'dist/agent/main.js')

/**
 * One host on this machine: a real libvirtd, and the real agent beside it. The agent runs in libvirtd's
 * namespaces, as on a host of its own, where libvirt's process ids are the agent's.
 */
export class AgentHost {
  readonly root: string
  readonly libvirtd: PrivateLibvirtd
  readonly client: AgentClient
  #agent: ChildProcess | null = null

  static async start(): Promise<AgentHost> {
    const root = await mkdtemp(join(tmpdir(), 'drover-agent-cost-'))
    const libvirtd = await PrivateLibvirtd.start({ conf: 'max_clients = 200\n' })
    const host = new AgentHost(root, libvirtd)
    const settings = {
      ...{ listen: '127.0.0.1:0', libvirt_socket: '/run/libvirt/libvirt-sock', log_level: 'info' },
      ...{ state_directory: join(root, 'state'), run_directory: join(root, 'run') },
      ...{ import_directory: join(root, 'import'), migration_tls_directory: join(root, 'pki') },
      ...{ allowed_directories: [root], unsafe_without_sanlock: true }
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
    await writeFile(join(root, 'agent.toml'), `${lines.join('\n')}\n`)
    await host.startAgent()
    return host
  }

  private constructor(root: string, libvirtd: PrivateLibvirtd) {
    this.root = root
    this.libvirtd = libvirtd
    this.client = new AgentClient(`unix:${root}/run/agent.sock`)
  }

  async startAgent(): Promise<void> {
    const log = openSync(join(this.root, 'log'), 'a')
    const target = String(await this.libvirtdPid())
    const flags = process.env['DROVER_BENCH_NODE_FLAGS']?.split(' ') ?? (await unitFlags())
    const command = [process.execPath, ...flags, main, 'serve', '--config', join(this.root, 'agent.toml')]
    this.#agent = spawn('nsenter', ['-t', target, '-p', '-m', '--', ...command], {
      stdio: ['ignore', log, log]
    })
    for (let tries = 0; tries < 600; tries++) {
      const host = await this.client.call('host', 'GetHost', {}, 2).catch(() => null)
      if (host && host['recovering'] !== true) return
      if (this.#agent.exitCode !== null) break
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    throw new Error(`the agent does not serve: ${(await this.#log()).slice(-2000)}`)
  }

  async agentPid(): Promise<number> {
    return findBelow(this.#agent?.pid ?? 0, 'node')
  }

  async libvirtdPid(): Promise<number> {
    return (await this.libvirtd.pids('libvirtd'))[0] ?? 0
  }

  async stopAgent(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#agent || this.#agent.exitCode !== null || this.#agent.signalCode !== null) return
    const ended = once(this.#agent, 'exit')
    const pid = await this.agentPid()
    if (pid > 0) process.kill(pid, signal)
    await ended
  }

  #log(): Promise<string> {
    return readFile(join(this.root, 'log'), 'utf8')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close()
    await this.stopAgent('SIGKILL')
    await this.libvirtd[Symbol.asyncDispose]()
    await rm(this.root, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** How the unit starts Node: what it costs is to be measured as it is installed. */
async function unitFlags(): Promise<string[]> {
  const unit = await readFile(join(root, 'systemd/drover-agent.service'), 'utf8')
  const [, flags = ''] = /^ExecStart=\S+((?: --\S+)*) /m.exec(unit) ?? []
  return flags.split(' ').filter(flag => flag !== '')
}
