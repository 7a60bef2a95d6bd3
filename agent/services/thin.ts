import { Fault } from '../../common/fault.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { ThinServiceDefinition } from '../../proto/generated/types/drover/agent/v1/ThinService.js'
import type { Drive, Phase } from '../extender/decide.js'
import type { Extender, Extension } from '../extender/extender.js'
import type { Way } from '../extender/ways.js'
import { wireTime } from '../wire.js'

const phases = {
  unset: 'THIN_PHASE_UNWATCHED',
  armed: 'THIN_PHASE_ARMED',
  extending: 'THIN_PHASE_EXTENDING',
  retrying: 'THIN_PHASE_RETRYING',
  atLimit: 'THIN_PHASE_AT_LIMIT',
  suspended: 'THIN_PHASE_SUSPENDED'
} as const satisfies Record<Phase, string>

const ways = {
  here: 'EXTEND_WAY_HERE',
  fast: 'EXTEND_WAY_NETWORK',
  mailbox: 'EXTEND_WAY_MAILBOX'
} as const satisfies Record<Way, string>

/** How far this host's thin disks are ahead of their guests. */
export function thinService(extender: Pick<Extender, 'show' | 'histogram'>): Handlers<ThinServiceDefinition> {
  return {
    getThinDisk: unary({
      check: fields => fields.uuid('diskId'),
      method: async diskId => {
        const found = extender.show(diskId)
        if (found) return thinMessage(found.drive, found.history)
        throw new Fault('NOT_FOUND', `disk ${diskId} is no thin disk on block storage of a VM that runs here`)
      }
    }),
    getExtendTimes: unary({
      check: () => null,
      method: async () => ({
        times: Object.entries(extender.histogram.dump()).map(([way, { buckets, count, sum }]) => ({
          way: ways[way as Way],
          boundsSeconds: Object.keys(buckets).map(Number),
          counts: Object.values(buckets).map(String),
          ...{ count: String(count), sumSeconds: sum }
        }))
      })
    })
  }
}

function thinMessage({ phase, usage, threshold, rate, isFull, isPaused }: Drive, history: Extension[]) {
  const last = history.at(-1)
  return {
    phase: phases[phase],
    sizeBytes: String(usage?.physical ?? 0),
    writtenBytes: String(usage?.allocation ?? 0),
    headroomBytes: String(usage ? usage.physical - usage.allocation : 0),
    nextExtendBytes: String(threshold ?? 0),
    rateBytesPerSecond: String(Math.round(rate)),
    storageDomainFull: isFull,
    vmWaits: isPaused,
    lastWay: last ? ways[last.way] : ('EXTEND_WAY_UNSPECIFIED' as const),
    extensions: history.map(({ at, from, to, took, way }) => ({
      time: wireTime(at),
      ...{ fromBytes: String(from), toBytes: String(to), tookMs: took * 1000, way: ways[way] }
    }))
  }
}
