import type { Bytes } from '../common/units.js'
import { bytes } from '../common/units.js'
import type { Domain } from './domain.js'
import * as c from './constants.js'
import { flags, nameOf, type NameIn } from './constants.js'
import { procedures as p } from './procedures.js'
import { present, uint, ullong } from './typed-params.js'

// A disk is named by its target, `vda`, a volume of its chain `vda[N]` with the N of the live XML. One block job
// per disk at a time: a second is BUSY. Jobs only begin here: their end comes as the event blockJob.

export type BlockJobInfo = {
  type: NameIn<typeof c.domainBlockJobType>
  /** Bytes per second; 0 is unlimited. */
  bandwidth: number
  current: number
  end: number
}
export type BlockInfo = { allocation: Bytes; capacity: Bytes; physical: Bytes }

/** Copies what lies above `base` down into it. `top` null is the leaf: an active commit, ended by `pivot`. */
export async function blockCommit(
  domain: Domain,
  disk: string,
  {
    base,
    top,
    relative = true,
    bandwidth = 0
  }: {
    base: string | null
    top: string | null
    relative?: boolean
    bandwidth?: number
  },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainBlockCommitFlags
  const how = flags(f.BANDWIDTH_BYTES, top === null ? f.ACTIVE : 0, relative ? f.RELATIVE : 0)
  const args = { dom: domain.ref, disk, base, top, bandwidth: BigInt(bandwidth), flags: how }
  await domain.libvirt.call(p.domainBlockCommit, args, signal)
}

/** Mirrors a disk into the destination of the XML, which exists already; ended by `pivot` or `cancel`. */
export async function blockCopy(
  domain: Domain,
  disk: string,
  {
    destinationXml,
    shallow = false,
    synchronousWrites = false,
    bandwidth = 0,
    granularity = null
  }: {
    destinationXml: string
    shallow?: boolean
    synchronousWrites?: boolean
    bandwidth?: number
    granularity?: number | null
  },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainBlockCopyFlags
  const how = flags(
    f.REUSE_EXT,
    f.TRANSIENT_JOB,
    shallow ? f.SHALLOW : 0,
    synchronousWrites ? f.SYNCHRONOUS_WRITES : 0
  )
  const params = present(
    bandwidth > 0 ? ullong('bandwidth', bandwidth) : null,
    granularity === null ? null : uint('granularity', granularity)
  )
  const args = { dom: domain.ref, path: disk, destXml: destinationXml, params, flags: how }
  await domain.libvirt.call(p.domainBlockCopy, args, signal)
}

/** Pulls everything below the leaf, down to `base`, up into it. */
export async function blockPull(
  domain: Domain,
  disk: string,
  { base = null, bandwidth = 0 }: { base?: string | null; bandwidth?: number },
  signal: AbortSignal
): Promise<void> {
  const common = { dom: domain.ref, path: disk, bandwidth: BigInt(bandwidth) }
  if (base === null) {
    const args = { ...common, flags: c.domainBlockPullFlags.BANDWIDTH_BYTES }
    await domain.libvirt.call(p.domainBlockPull, args, signal)
  } else {
    const f = c.domainBlockRebaseFlags
    const args = { ...common, base, flags: flags(f.RELATIVE, f.BANDWIDTH_BYTES) }
    await domain.libvirt.call(p.domainBlockRebase, args, signal)
  }
}

/** Null if the disk has no job. It is ready for `pivot` after the event, when current equals end. */
export async function blockJobInfo(
  domain: Domain,
  disk: string,
  signal: AbortSignal
): Promise<BlockJobInfo | null> {
  const args = { dom: domain.ref, path: disk, flags: c.domainBlockJobInfoFlags.BANDWIDTH_BYTES }
  const { found, type, bandwidth, cur, end } = await domain.libvirt.call(
    p.domainGetBlockJobInfo,
    args,
    signal
  )
  if (found === 0) return null
  return {
    type: nameOf(c.domainBlockJobType, type),
    bandwidth: Number(bandwidth),
    current: Number(cur),
    end: Number(end)
  }
}

/** Makes the job's target the disk's new leaf. Begins only: 'completed' comes as an event. */
export async function pivotBlockJob(domain: Domain, disk: string, signal: AbortSignal): Promise<void> {
  const { PIVOT, ASYNC } = c.domainBlockJobAbortFlags
  await domain.libvirt.call(
    p.domainBlockJobAbort,
    { dom: domain.ref, path: disk, flags: flags(PIVOT, ASYNC) },
    signal
  )
}

/** Begins to end the job without its effect: 'canceled' comes as an event. */
export async function cancelBlockJob(domain: Domain, disk: string, signal: AbortSignal): Promise<void> {
  const args = { dom: domain.ref, path: disk, flags: c.domainBlockJobAbortFlags.ASYNC }
  await domain.libvirt.call(p.domainBlockJobAbort, args, signal)
}

/** Bytes per second; 0 is unlimited. */
export async function setBlockJobSpeed(
  domain: Domain,
  disk: string,
  bandwidth: number,
  signal: AbortSignal
): Promise<void> {
  const how = c.domainBlockJobSetSpeedFlags.BANDWIDTH_BYTES
  const args = { dom: domain.ref, path: disk, bandwidth: BigInt(bandwidth), flags: how }
  await domain.libvirt.call(p.domainBlockJobSetSpeed, args, signal)
}

/**
 * Arms one event blockThreshold for when `dev` has been written up to here; null disarms. Always name the
 * volume (`vda[1]`): armed on `vda`, one write gives two events.
 */
export async function setBlockThreshold(
  domain: Domain,
  dev: string,
  threshold: Bytes | null,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, dev, threshold: BigInt(threshold ?? 0), flags: 0 }
  await domain.libvirt.call(p.domainSetBlockThreshold, args, signal)
}

/** Allocation is the highest offset written; 0 for a fresh leaf, and by a quirk during a backup. */
export async function blockInfo(domain: Domain, path: string, signal: AbortSignal): Promise<BlockInfo> {
  const args = { dom: domain.ref, path, flags: 0 }
  const { allocation, capacity, physical } = await domain.libvirt.call(p.domainGetBlockInfo, args, signal)
  return {
    allocation: bytes(Number(allocation)),
    capacity: bytes(Number(capacity)),
    physical: bytes(Number(physical))
  }
}

/** Tells the guest of its disk's new size. The volume has it already. */
export async function blockResize(
  domain: Domain,
  disk: string,
  size: Bytes,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, disk, size: BigInt(size), flags: c.domainBlockResizeFlags.BYTES }
  await domain.libvirt.call(p.domainBlockResize, args, signal)
}

/** Disks that stopped the guest, and why. */
export async function diskErrors(
  domain: Domain,
  signal: AbortSignal
): Promise<Array<{ disk: string; error: NameIn<typeof c.domainDiskErrorCode> }>> {
  const args = { dom: domain.ref, maxerrors: 256, flags: 0 }
  const { errors } = await domain.libvirt.call(p.domainGetDiskErrors, args, signal)
  return errors.map(({ disk, error }) => ({ disk, error: nameOf(c.domainDiskErrorCode, error) }))
}
