import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Fault } from '../common/fault.js'

/**
 * A storage domain that one host uses alone has no leases; a lock on the open file `ids` keeps a second process
 * off, as oVirt does it. A small program holds it as long as its standard input stays open: as long as we live.
 */
export class LocalLock {
  readonly #path: string
  #holder: ChildProcess | null = null

  constructor(path: string) {
    this.#path = path
  }

  async take(): Promise<void> {
    if (this.#holder !== null) return
    const words = ['--nonblock', '--exclusive', this.#path, '/bin/sh', '-c', 'echo held; exec cat >/dev/null']
    const holder = spawn('flock', words, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] })
    holder.stdout.setEncoding('utf8')
    const held = once(holder.stdout, 'data').then(() => true)
    const refused = once(holder, 'exit').then(() => false)
    if (!(await Promise.race([held, refused]))) {
      throw new Fault('BUSY', 'another process uses this local storage domain')
    }
    holder.stdout.destroy()
    holder.unref()
    this.#holder = holder
  }

  async letGo(): Promise<void> {
    const holder = this.#holder
    if (holder === null) return
    this.#holder = null
    holder.ref()
    const ended = once(holder, 'exit')
    holder.stdin?.end()
    await ended
  }

  get isHeld(): boolean {
    return this.#holder !== null
  }
}
