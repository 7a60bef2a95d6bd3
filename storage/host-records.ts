import { type Seconds, seconds } from '../common/units.js'
import { hostIdOffset } from './format/leases-layout.js'
import { readSanlockRecord } from './format/sanlock-record.js'
import type { Geometry } from './storage-domain.js'

// sanlock renews a host's record every 2 x io timeout. Its time stamp is the owner's own clock, so what counts
// is when *we* saw it change, on our monotonic clock.

export const lastHostId = 249

export type HostState = 'unknown' | 'live' | 'failing' | 'expired' | 'free'

export type HostRecord = {
  sanlockHostId: number
  hostName: string
  generation: number
  /** The owner's clock at its last renewal; 0 when it gave the id back. */
  timestamp: number
}

export type ObservedHost = HostRecord & {
  /** Since we saw the record change; since we began to watch, if it never did. */
  unchanged: Seconds
  watched: Seconds
  state: HostState
}

/** How far the records reach in `ids`. */
export const recordsLength = ({ sectorSize }: Geometry) => hostIdOffset(lastHostId + 1, sectorSize)

/** The records of all host ids that were ever used. A sector that cannot be read is nobody's. */
export function hostRecords(ids: Buffer, { sectorSize }: Geometry): HostRecord[] {
  const records: HostRecord[] = []
  for (let id = 1; id <= lastHostId; id++) {
    const at = hostIdOffset(id, sectorSize)
    const record = readable(ids.subarray(at, at + sectorSize))
    if (record === null || record.kind !== 'delta' || !record.checksumValid || record.ownerId === 0n) continue
    const { resource: hostName, ownerGeneration, timestamp } = record
    records.push({
      sanlockHostId: id,
      hostName,
      generation: Number(ownerGeneration),
      timestamp: Number(timestamp)
    })
  }
  return records
}

function readable(sector: Buffer) {
  try {
    return sector.length < 176 ? null : readSanlockRecord(sector)
  } catch {
    return null
  }
}

type Seen = HostRecord & { since: Seconds; changed: boolean }

/** Remembers when each record last changed. `now` is this host's monotonic clock. */
export class HostWatch {
  readonly #seen = new Map<number, Seen>()
  readonly #ioTimeout: Seconds
  #began: Seconds | null = null

  constructor(ioTimeout: Seconds) {
    this.#ioTimeout = ioTimeout
  }

  observe(records: readonly HostRecord[], now: Seconds): void {
    const isFirst = this.#began === null
    this.#began ??= now
    for (const record of records) {
      const before = this.#seen.get(record.sanlockHostId)
      if (before && before.timestamp === record.timestamp && before.generation === record.generation) continue
      this.#seen.set(record.sanlockHostId, { ...record, since: now, changed: !isFirst })
    }
  }

  hosts(now: Seconds): ObservedHost[] {
    const watched = seconds(now - (this.#began ?? now))
    return [...this.#seen.values()].map(({ since, changed, ...record }) => {
      const unchanged = seconds(now - since)
      return { ...record, unchanged, watched, state: this.#state(record, unchanged, watched, changed) }
    })
  }

  /** A record that we never saw change says nothing until we have watched long enough. */
  #state({ timestamp }: HostRecord, unchanged: Seconds, watched: Seconds, changed: boolean): HostState {
    const renewal = 3 * this.#ioTimeout + 5
    if (timestamp === 0) return 'free'
    if (changed && unchanged <= renewal) return 'live'
    if (watched < renewal) return 'unknown'
    if (unchanged >= 8 * this.#ioTimeout + 60) return 'expired'
    return 'failing'
  }
}
