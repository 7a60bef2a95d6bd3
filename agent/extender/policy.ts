import { type Bytes, MiB, bytes, roundUp, type Seconds } from '../../common/units.js'
import { extent, largestOnBlock } from '../../storage/format/volume-sizes.js'

// How far ahead of the guest a thin disk is kept. While an extend is under way the guest goes on writing: what
// it can write in that time must be free when the extend begins.
//
//      0                        allocation                threshold           physical
//      |########## written ##########|                        |<---- free ------>|
//                                    guest writes  ------->   event: extend by `chunk`
//
//      free  >=  rate x extend time x margin         so that the end is never met
//      chunk >=  rate x extend time x margin         so that the next event comes after this extend

export type Bounds = { least: Bytes; most: Bytes }

/** Equal bounds make a fixed setting of either. */
export type ThinPolicy = {
  chunk: Bounds
  /** Room that is left when an extend begins. */
  free: Bounds
  /** Bytes a second that a guest may begin to write with no warning, and the most room that is kept for that. */
  burst: number
  burstRoom: Bytes
  /** For how many extend times the room must last. */
  margin: number
}

export const adaptivePolicy: ThinPolicy = {
  chunk: { least: MiB(512), most: MiB(16384) },
  free: { least: MiB(128), most: MiB(16384) },
  burst: MiB(1024),
  burstRoom: MiB(2048),
  margin: 3
}

/** What VDSM does: 2560 MiB, when less than 80 % of that is free, however fast the guest or the storage is. */
export const conservativePolicy: ThinPolicy = {
  chunk: { least: MiB(2560), most: MiB(2560) },
  free: { least: MiB(2048), most: MiB(2048) },
  burst: 0,
  burstRoom: MiB(0),
  margin: 3
}

export type Pace = { chunk: Bytes; free: Bytes }

/** While a disk is mirrored the replica has to keep up too: everything doubles. */
export function paceOf(
  policy: ThinPolicy,
  { rate, extendTime, isMirrored }: { rate: number; extendTime: Seconds; isMirrored: boolean }
): Pace {
  const room = (speed: number) => speed * extendTime * policy.margin
  // One extend that took seconds, for a change of manager, does not make every thin disk a thick one.
  const sudden = Math.min(policy.burstRoom, room(policy.burst))
  const times = isMirrored ? 2 : 1
  return {
    chunk: bytes(within(policy.chunk, room(rate), extent) * times),
    free: bytes(within(policy.free, Math.max(room(rate), sudden), MiB(1)) * times)
  }
}

function within({ least, most }: Bounds, wanted: number, step: Bytes): Bytes {
  const inBounds = Math.min(most, Math.max(least, Math.ceil(wanted)))
  return roundUp(bytes(inBounds), step)
}

/** The largest size that a volume of this capacity is ever extended to. */
export const limitOf = (capacity: Bytes): Bytes => largestOnBlock(capacity)

/** The size to ask for, in whole extents: absolute, so that asking twice is asking once. */
export function nextSize(usage: { capacity: Bytes; physical: Bytes; allocation: Bytes }, pace: Pace): Bytes {
  // A guest that is far past the threshold gets at once what several steps would bring.
  const ahead = usage.allocation + pace.free + pace.chunk / 2
  const wanted = bytes(Math.ceil(Math.max(usage.physical + pace.chunk, ahead)))
  return bytes(Math.min(roundUp(wanted, extent), limitOf(usage.capacity)))
}

/** Peaks count at once and fade slowly: a storage that was slow once may be so again. */
export function slowerOf(known: Seconds, took: Seconds): Seconds {
  return Math.max(took, known * 0.9 + took * 0.1) as Seconds
}

/** The same for a guest's rate: half of a peak is forgotten in half a minute. */
export function fasterOf(known: number, rate: number, elapsed: number): number {
  return Math.max(rate, known * 0.5 ** (elapsed / 30))
}
