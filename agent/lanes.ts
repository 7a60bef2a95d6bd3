import { Fault } from '../common/fault.js'

type Waiting = { kind: string; enter: () => void }

/** How much runs at once: so many in all, and fewer of some kinds. The rest waits in order. */
export class Lanes {
  readonly #most: number
  readonly #mostWaiting: number
  readonly #perKind: Record<string, number>
  readonly #running = new Map<string, number>()
  #waiting: Waiting[] = []

  constructor(most: number, mostWaiting: number, perKind: Record<string, number>) {
    this.#most = most
    this.#mostWaiting = mostWaiting
    this.#perKind = perKind
  }

  /** `using place = await lanes.enter(kind, signal)`. */
  async enter(kind: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (!this.#hasPlace(kind)) await this.#turn(kind, signal)
    else this.#count(kind, 1)
    let isInside = true
    const leave = () => {
      if (!isInside) return
      isInside = false
      this.#count(kind, -1)
      this.#admit()
    }
    return { [Symbol.dispose]: leave }
  }

  get waiting(): number {
    return this.#waiting.length
  }

  #turn(kind: string, signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#mostWaiting) {
      throw new Fault('LIMIT', `${this.#mostWaiting} tasks wait already`)
    }
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting = this.#waiting.filter(other => other !== mine)
        reject(signal.reason)
      }
      const enter = () => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const mine = { kind, enter }
      this.#waiting.push(mine)
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  /** Oldest first, passing over kinds that are at their limit. */
  #admit(): void {
    for (const next of [...this.#waiting]) {
      if (!this.#hasPlace(next.kind)) continue
      this.#waiting = this.#waiting.filter(other => other !== next)
      this.#count(next.kind, 1)
      next.enter()
    }
  }

  #hasPlace(kind: string): boolean {
    const all = [...this.#running.values()].reduce((sum, count) => sum + count, 0)
    return all < this.#most && (this.#running.get(kind) ?? 0) < (this.#perKind[kind] ?? this.#most)
  }

  #count(kind: string, change: number): void {
    this.#running.set(kind, (this.#running.get(kind) ?? 0) + change)
  }
}
