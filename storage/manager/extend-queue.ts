import type { Bytes } from '../../common/units.js'
import type { ExtendedVolume, ExtendVolume } from '../extend-volumes.js'

/** Makes volumes at least as large as asked; throws only if the role or the storage is lost. */
export type Extends = (volumes: readonly ExtendVolume[]) => Promise<ExtendedVolume[]>

type Entry = {
  to: Bytes
  waiters: Array<{ to: Bytes; done: (volume: ExtendedVolume) => void; fail: (error: unknown) => void }>
}

/** One LVM does so many: its start is the dear part, but the first must not wait long for the last. */
const batchSize = 64

/**
 * Where requests of all ways meet: this host's own, those over the network, those in the mailbox. There is one
 * entry per volume and the largest size wins, so that a request which came twice, by two ways or again after a
 * change of manager, is done once.
 */
export class ExtendQueue {
  readonly #extends: Extends
  readonly #waiting = new Map<string, Entry>()
  #draining: Promise<void> | null = null
  /** How many requests came, and how many extends they became. */
  readonly counts = { requests: 0, extends: 0, batches: 0 }

  constructor(extend: Extends) {
    this.#extends = extend
  }

  get length(): number {
    return this.#waiting.size
  }

  /** Everything that was asked for so far has its answer. */
  async drained(): Promise<void> {
    while (this.#draining) await this.#draining
  }

  add(volumeId: string, to: Bytes): Promise<ExtendedVolume> {
    this.counts.requests++
    return new Promise((done, fail) => {
      const entry = this.#waiting.get(volumeId) ?? { to, waiters: [] }
      if (to > entry.to) entry.to = to
      entry.waiters.push({ to, done, fail })
      this.#waiting.set(volumeId, entry)
      this.#draining ??= this.#drain()
    })
  }

  async #drain(): Promise<void> {
    // What comes in the same turn of the loop goes in the same batch.
    await Promise.resolve()
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, batchSize)
      for (const [volumeId] of batch) this.#waiting.delete(volumeId)
      await this.#run(batch)
    }
    this.#draining = null
  }

  async #run(batch: ReadonlyArray<[string, Entry]>): Promise<void> {
    this.counts.batches++
    this.counts.extends += batch.length
    try {
      const volumes = await this.#extends(batch.map(([volumeId, { to }]) => ({ volumeId, to })))
      const byId = new Map(volumes.map(volume => [volume.volumeId, volume]))
      for (const [volumeId, { waiters }] of batch) {
        const volume = byId.get(volumeId)
        if (volume === undefined) throw new Error(`no answer for volume ${volumeId}`)
        // Who asked for less than the largest may have it although the largest was refused.
        for (const { to, done } of waiters) done(volume.size >= to ? { ...volume, failure: null } : volume)
      }
    } catch (error) {
      for (const [, { waiters }] of batch) for (const { fail } of waiters) fail(error)
    }
  }
}
