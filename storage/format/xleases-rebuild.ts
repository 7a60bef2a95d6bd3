import { type Bytes, bytes } from '../../common/units.js'
import type { XleaseRecord } from './xleases-record.js'
import { type XleasesIndex, leaseOffset, recordCount } from './xleases.js'

/** What sanlock has at a record's place: the name of a resource, or null. */
export type ResourceAt = (offset: Bytes) => string | null

export type RebuildStep =
  | { kind: 'writeResource'; record: number; offset: Bytes; leaseId: string }
  | { kind: 'clearResource'; record: number; offset: Bytes }
  | { kind: 'putRecord'; record: number; leaseId: string }
  | { kind: 'clearRecord'; record: number }

/** How many records have room for their lease in a volume of this size. */
export function recordsWithin(volumeSize: Bytes, alignment: Bytes): number {
  return Math.max(0, Math.min(recordCount, Math.floor(volumeSize / alignment) - 3))
}

/**
 * Decides how index and sanlock's resources are made to agree. The index is right where both are readable.
 * The caller does the steps in order, then writes the whole index and its first block.
 */
export function planRebuild(index: XleasesIndex, volumeSize: Bytes, resourceAt: ResourceAt): RebuildStep[] {
  const room = recordsWithin(volumeSize, index.alignment)
  const known = new Set(index.leases().map(lease => lease.leaseId))
  const steps: RebuildStep[] = []
  for (let record = 0; record < recordCount; record++) {
    const entry = index.record(record)
    if (record >= room) {
      if (entry.kind !== 'free') steps.push({ kind: 'clearRecord', record })
      continue
    }
    const offset = leaseOffset(record, index.alignment)
    steps.push(...agree(entry, record, bytes(offset), resourceAt(offset), known))
  }
  return steps
}

function agree(
  entry: XleaseRecord,
  record: number,
  offset: Bytes,
  resource: string | null,
  known: Set<string>
): RebuildStep[] {
  switch (entry.kind) {
    case 'free':
      return resource === null ? [] : [{ kind: 'clearResource', record, offset }]
    case 'used': {
      const write: RebuildStep = { kind: 'writeResource', record, offset, leaseId: entry.leaseId }
      const put: RebuildStep = { kind: 'putRecord', record, leaseId: entry.leaseId }
      return [...(resource === entry.leaseId ? [] : [write]), ...(entry.updating ? [put] : [])]
    }
    case 'damaged': {
      if (resource === null) return [{ kind: 'clearRecord', record }]
      if (known.has(resource))
        return [
          { kind: 'clearRecord', record },
          { kind: 'clearResource', record, offset }
        ]
      known.add(resource)
      return [{ kind: 'putRecord', record, leaseId: resource }]
    }
  }
}
