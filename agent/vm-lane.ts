import { orAborted } from '../common/deadline.js'
import { Fault } from '../common/fault.js'

const mostWaiting = 8

/** Verbs that change one VM, one at a time and in order. Events do not queue here. */
export class VmLane {
  readonly #vmId: string
  #running: string | null = null
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(vmId: string) {
    this.#vmId = vmId
  }

  get running(): string | null {
    return this.#running
  }

  async run<T>(name: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#waiting >= mostWaiting) {
      throw new Fault('BUSY', `VM ${this.#vmId}: "${this.#running}" runs and ${mostWaiting} others wait`)
    }
    this.#waiting++
    const before = this.#last
    let leave = () => {}
    this.#last = new Promise<void>(resolve => (leave = resolve))
    try {
      await orAborted(before, signal)
    } catch (error) {
      // Whoever comes next still waits for those before us.
      void before.then(leave)
      throw error
    } finally {
      this.#waiting--
    }
    this.#running = name
    try {
      return await work()
    } finally {
      this.#running = null
      leave()
    }
  }
}
