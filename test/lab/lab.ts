import { execa } from 'execa'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../root.js'

const scripts = join(root, 'test/lab')

export type ExecOptions = { seconds?: number; input?: string }
export type HostPart = 'agent' | 'coordinator' | 'libvirtd' | 'sanlock' | 'qemu'

/** One lab: hosts in namespaces on this machine. Everything here ends within a time limit. */
export class Lab {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  get folder(): string {
    return `${process.env['LAB_STATE'] ?? '/var/tmp/drover-lab'}/${this.name}`
  }
  /** Seen by all hosts as /lab/shared: their common storage. */
  get shared(): string {
    return `${this.folder}/shared`
  }
  /** Seen by all hosts as /lab/files: packages and images. */
  get files(): string {
    return `${this.folder}/files`
  }

  up(...hosts: string[]): Promise<string> {
    return this.#lab(['up', ...hosts], 1800)
  }
  down(): Promise<string> {
    return this.#lab(['down'], 120)
  }
  /** What is left on this machine; empty after down. */
  traces(): Promise<string> {
    return this.#lab(['traces'], 60)
  }
  /** A command in a host; its standard output. Rejects when it fails. */
  exec(host: string, command: string[], { seconds = 60, input = '' }: ExecOptions = {}): Promise<string> {
    return this.#lab(['exec', host, ...command], seconds + 10, { LAB_TIMEOUT: String(seconds) }, input)
  }
  /** A command that goes on in a host, and tells line by line; killed after that time, or by whoever has it. */
  follow(host: string, command: string[], seconds = 1800) {
    return spawn(join(scripts, 'lab.sh'), ['exec', host, ...command], {
      env: { ...process.env, LAB_NAME: this.name, LAB_TIMEOUT: String(seconds) },
      stdio: ['ignore', 'pipe', 'inherit']
    })
  }
  shell(host: string, script: string, options: ExecOptions = {}): Promise<string> {
    return this.exec(host, ['sh', '-ec', script], options)
  }
  /** The machine's number of the host's process 1. */
  async pid(host: string): Promise<number> {
    return Number(await this.#lab(['pid', host]))
  }
  async address(host: string): Promise<string> {
    return this.#lab(['address', host])
  }
  /** The first three numbers of the addresses in this lab. */
  subnet(): Promise<string> {
    return this.#lab(['subnet'])
  }
  async isPowered(host: string): Promise<boolean> {
    return (await this.#lab(['power', host])) === 'on'
  }
  /** The power is gone at once, with every process of the host. */
  off(host: string): Promise<string> {
    return this.#lab(['off', host])
  }
  on(host: string): Promise<string> {
    return this.#lab(['on', host])
  }
  link(host: string, state: 'up' | 'down'): Promise<string> {
    return this.#lab(['link', host, state])
  }
  cut(...hosts: string[]): Promise<string> {
    return this.#lab(['cut', ...hosts])
  }
  heal(): Promise<string> {
    return this.#lab(['heal'])
  }
  storage(host: string, state: 'up' | 'down'): Promise<string> {
    return this.#lab(['storage', host, state])
  }
  kill(host: string, part: HostPart): Promise<string> {
    return this.#lab(['kill', host, part])
  }
  freeze(host: string): Promise<string> {
    return this.#lab(['freeze', host])
  }
  thaw(host: string): Promise<string> {
    return this.#lab(['thaw', host])
  }

  /** A unix socket of a host, as a path of this machine. */
  async socket(host: string, path: string): Promise<string> {
    return `/proc/${await this.pid(host)}/root${path}`
  }
  /** What a fence agent on any host needs to switch this host's power. */
  async powerDevice(host: string) {
    const address = await this.#script('bmc/bmc.sh', ['address', host], 10)
    return {
      fenceAgent: 'fence_ipmilan',
      options: { ip: address, username: 'drover', lanplus: '1', cipher: '3' },
      secretOptions: { password: 'fence-me' }
    }
  }

  #lab(args: string[], seconds = 60, environment: Record<string, string> = {}, input = ''): Promise<string> {
    return this.#script('lab.sh', args, seconds, environment, input)
  }

  async #script(
    script: string,
    args: string[],
    seconds: number,
    environment: Record<string, string> = {},
    input = ''
  ): Promise<string> {
    const { stdout } = await execa(join(scripts, script), args, {
      env: { LAB_NAME: this.name, ...environment },
      timeout: seconds * 1000,
      forceKillAfterDelay: 5000,
      maxBuffer: 16 * 2 ** 20,
      input
    })
    return stdout.trim()
  }
}

/** Builds the small bootable guest, or takes it from the build folder. */
export async function buildGuest(to: string): Promise<void> {
  await execa(join(scripts, 'guest/build-image.sh'), [to], { timeout: 300_000 })
}

/** Asks until the answer is there; the last refusal is in the error. */
export async function poll<T>(
  what: string,
  seconds: number,
  ask: () => Promise<T | null>,
  every = 200
): Promise<T> {
  const end = performance.now() + seconds * 1000
  let last: unknown = 'nothing yet'
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== null) return answer
    } catch (error) {
      last = error
    }
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`, { cause: last })
    await new Promise(resolve => setTimeout(resolve, every))
  }
}
