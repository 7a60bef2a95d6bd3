import { randomUUID } from 'node:crypto'
import type { Seconds } from './units.js'

/** Time and chance: the only door to both, so that the simulator can replace them. */
export type Clock = {
  /** Seconds since an arbitrary start; never goes back. All limits, leases and ages use this one. */
  monotonic(): Seconds
  /** Milliseconds since 1970 UTC. For people and records only: it may jump. */
  wall(): number
  /** Runs once after a delay; the result cancels it. */
  after(delay: Seconds, run: () => void): () => void
  /** From 0 up to, not including, 1. */
  random(): number
  newId(): string
}

export const systemClock: Clock = {
  monotonic: () => (performance.now() / 1000) as Seconds,
  wall: () => Date.now(),
  after: (delay, run) => {
    const timer = setTimeout(run, delay * 1000)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
  newId: () => randomUUID()
}

/** Waits, unless the signal comes first; then rejects with its reason. */
export function sleep(clock: Clock, delay: Seconds, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const stop = () => {
      cancel()
      reject(signal.reason)
    }
    const cancel = clock.after(delay, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    signal.addEventListener('abort', stop, { once: true })
  })
}

/** A wall time as RFC 3339 text in UTC, as records and messages show it. */
export const timestamp = (wall: number) => new Date(wall).toISOString()
