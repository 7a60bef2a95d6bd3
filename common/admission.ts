import { Fault } from './fault.js'

export type AdmissionLimits = {
  /** Calls of one peer, and of all, that run at once. */
  perPeer: number
  inAll: number
  /** Calls that may wait for that. */
  waiting: number
}

export const standardAdmission: AdmissionLimits = { perPeer: 64, inAll: 256, waiting: 512 }

type Waiter = { peer: string; enter: () => void }

/**
 * How many calls run at once. Beyond that calls wait in order, and beyond a bound they are refused: work
 * that nobody can get to is told so at once. One peer can not fill the house: its share is bounded.
 */
export class Admission {
  readonly #limits: AdmissionLimits
  readonly #running = new Map<string, number>()
  readonly #waiting: Waiter[] = []
  #inAll = 0

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  /** `using _ = await admission.enter(peer, signal)`. */
  async enter(peer: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#mayEnter(peer)) return this.#admit(peer)
    if (this.#waiting.length >= this.#limits.waiting) throw new Fault('LIMIT', 'too many calls at once')
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const waiter = { peer, enter }
      this.#waiting.push(waiter)
      signal.addEventListener('abort', leave, { once: true })
    })
    return this.#leaving(peer)
  }

  /** For the debug door. */
  dump(): { running: number; waiting: number } {
    return { running: this.#inAll, waiting: this.#waiting.length }
  }

  #mayEnter(peer: string): boolean {
    return this.#inAll < this.#limits.inAll && (this.#running.get(peer) ?? 0) < this.#limits.perPeer
  }

  #admit(peer: string): Disposable {
    this.#inAll++
    this.#running.set(peer, (this.#running.get(peer) ?? 0) + 1)
    return this.#leaving(peer)
  }

  #leaving(peer: string): Disposable {
    return { [Symbol.dispose]: () => this.#leave(peer) }
  }

  #leave(peer: string): void {
    this.#inAll--
    const left = (this.#running.get(peer) ?? 1) - 1
    if (left === 0) this.#running.delete(peer)
    else this.#running.set(peer, left)
    const next = this.#waiting.findIndex(waiter => this.#mayEnter(waiter.peer))
    const [waiter] = next < 0 ? [] : this.#waiting.splice(next, 1)
    if (!waiter) return
    this.#admit(waiter.peer)
    waiter.enter()
  }
}
