import { execa } from 'execa'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Lab } from '../lab.js'
import { guestExec } from './guest-exec.js'
import { root } from '../../root.js'

const script = join(root, 'test/lab/vm/vm.sh')

export type VmOptions = { memory?: number; qemu?: string[] }

/** A virtual machine of a lab, with a kernel of its own. */
export class Vm {
  readonly name: string
  readonly number: number
  readonly #lab: Lab
  readonly #doors = new Map<string, Server>()
  readonly #sockets = new Set<Socket>()

  constructor(lab: Lab, name: string, number: number) {
    this.#lab = lab
    this.name = name
    this.number = number
  }

  /** Begins to boot; `ready` waits. */
  async up({ memory = 1024, qemu = [] }: VmOptions = {}): Promise<void> {
    await this.#vm(['up', this.name, String(this.number), ...qemu], { MEM: String(memory) })
  }
  async ready(seconds = 240): Promise<void> {
    await this.#vm(['wait', this.name, String(seconds)], {}, seconds + 10)
  }
  /** Arguments of QEMU for a new empty disk, seen in the VM as /dev/disk/by-id/virtio-NAME. */
  async disk(name: string, size: string): Promise<string[]> {
    return (await this.#vm(['disk', name, size])).split(' ')
  }
  async off(): Promise<void> {
    await this.#vm(['off', this.name])
  }
  async pause(): Promise<void> {
    await this.#vm(['pause', this.name])
  }
  async cont(): Promise<void> {
    await this.#vm(['cont', this.name])
  }
  async link(state: 'up' | 'down'): Promise<void> {
    await this.#vm(['link', this.name, state])
  }
  console(): Promise<string> {
    return this.#vm(['console', this.name])
  }
  /** How often it has booted since it was powered on: the watchdog's mark. */
  async boots(): Promise<number> {
    return (await this.console()).split('LAB VM ready').length - 1
  }

  /** Runs a script there; its standard output. Rejects when it fails. */
  async shell(text: string, seconds = 60): Promise<string> {
    const socket = join(this.#lab.folder, 'vm', this.name, 'agent')
    const { code, stdout, stderr } = await guestExec(socket, `set -e\n${text}`, seconds)
    if (code !== 0) throw new Error(`${this.name}: exit status ${code} of ${text}\n${stdout}${stderr}`)
    return stdout.trim()
  }

  /**
   * A unix socket of the VM, as a path of this machine: programs started there take minutes under emulation, those that
   * ask from here none. Until `closeSockets`.
   */
  async socket(path: string): Promise<string> {
    const here = join(this.#lab.folder, 'vm', this.name, path.replaceAll('/', '_'))
    if (this.#doors.has(path)) return here
    const port = 5000 + this.#doors.size
    const host = `${await this.#lab.subnet()}.${this.number}`
    await this.shell(
      `systemd-run -q --unit lab-door-${port} socat TCP-LISTEN:${port},fork,reuseaddr UNIX-CONNECT:${path}`,
      90
    )
    const door = createServer(near => {
      const far = connect(port, host)
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
      }
      for (const [one, other] of [
        [near, far],
        [far, near]
      ] as const)
        one.on('error', () => other.destroy()).pipe(other)
    })
    await new Promise<void>(resolve => door.listen(here, resolve))
    this.#doors.set(path, door)
    return here
  }
  closeSockets(): void {
    for (const door of this.#doors.values()) door.close()
    this.#doors.clear()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #vm(args: string[], environment: Record<string, string> = {}, seconds = 120): Promise<string> {
    const { stdout } = await execa(script, args, {
      env: { LAB_NAME: this.#lab.name, ...environment },
      timeout: seconds * 1000,
      forceKillAfterDelay: 5000
    })
    return stdout.trim()
  }
}
