import type { Domain } from './domain.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import { jobStatsOf, type JobStats } from './job-stats.js'
import { procedures as p } from './procedures.js'
import { int, present, text, ullong } from './typed-params.js'

export type MigrationSpec = {
  /** How the *source's* libvirtd reaches the destination's: `qemu+unix:///system?socket=PATH`. */
  destinationUri: string
  /** QEMU's own stream: `tcp://ADDRESS:PORT` or `unix:///PATH`. Null: libvirt chooses. */
  migrateUri: string | null
  listenAddress?: string | null
  destinationXml?: string | null
  persistentXml?: string | null
  destinationName?: string | null
  graphicsUri?: string | null
  /** Whether the definition moves too (persistent domains), or only the running guest. */
  movesDefinition?: boolean
  arrivesPaused?: boolean
  /** Local files as disks. For tests on one machine only. */
  unsafe?: boolean
  tls?: { destinationName: string | null } | null
  bandwidthMiBs?: number | null
  autoConverge?: { initial: number; increment: number } | null
  postCopy?: boolean
  parallelConnections?: number | null
  zeroCopy?: boolean
  compression?: { method: 'mt' | 'xbzrle' } | null
  abortOnIoError?: boolean
}

/**
 * Live migration, peer to peer: the five phases run between the two libvirtds. Returns when all is over; there
 * is no limit of its own. A signal that ends does not end the migration: `abortJob` does.
 */
export async function migrate(domain: Domain, spec: MigrationSpec, signal: AbortSignal): Promise<void> {
  const args = {
    dom: domain.ref,
    dconnUri: spec.destinationUri,
    params: migrationParams(spec),
    cookieIn: Buffer.alloc(0),
    flags: migrationFlags(spec)
  }
  await domain.libvirt.call(p.domainMigratePerform3Params, args, signal)
}

/** How far the running job is; null if there is none. */
export async function jobStats(domain: Domain, signal: AbortSignal): Promise<JobStats | null> {
  const { type, params } = await domain.libvirt.call(
    p.domainGetJobStats,
    { dom: domain.ref, flags: 0 },
    signal
  )
  return type === c.domainJobType.NONE ? null : jobStatsOf(type, params)
}

/** The last job that ended; null if there is none. libvirt keeps it, also for the next who asks. */
export async function completedJobStats(domain: Domain, signal: AbortSignal): Promise<JobStats | null> {
  const { COMPLETED, KEEP_COMPLETED } = c.domainGetJobStatsFlags
  const args = { dom: domain.ref, flags: flags(COMPLETED, KEEP_COMPLETED) }
  const { type, params } = await domain.libvirt.call(p.domainGetJobStats, args, signal)
  return type === c.domainJobType.NONE ? null : jobStatsOf(type, params)
}

/** Ends the running job: migration, save, dump or backup. Its own call then fails with CANCELLED. */
export async function abortJob(domain: Domain, signal: AbortSignal): Promise<void> {
  await domain.libvirt.call(p.domainAbortJob, { dom: domain.ref }, signal)
}

export async function setMaxDowntime(
  domain: Domain,
  milliseconds: number,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, downtime: BigInt(Math.round(milliseconds)), flags: 0 }
  await domain.libvirt.call(p.domainMigrateSetMaxDowntime, args, signal)
}

export async function maxDowntime(domain: Domain, signal: AbortSignal): Promise<number> {
  const args = { dom: domain.ref, flags: 0 }
  return Number((await domain.libvirt.call(p.domainMigrateGetMaxDowntime, args, signal)).downtime)
}

export async function setMaxSpeed(domain: Domain, mibPerSecond: number, signal: AbortSignal): Promise<void> {
  const args = { dom: domain.ref, bandwidth: BigInt(Math.round(mibPerSecond)), flags: 0 }
  await domain.libvirt.call(p.domainMigrateSetMaxSpeed, args, signal)
}

/** Switches to post-copy now. The migration must have been begun with `postCopy`. */
export async function startPostCopy(domain: Domain, signal: AbortSignal): Promise<void> {
  await domain.libvirt.call(p.domainMigrateStartPostCopy, { dom: domain.ref, flags: 0 }, signal)
}

export function migrationFlags(spec: MigrationSpec): number {
  const f = c.domainMigrateFlags
  const bits: Array<[boolean | undefined, number]> = [
    [spec.movesDefinition, f.PERSIST_DEST | f.UNDEFINE_SOURCE],
    [spec.arrivesPaused, f.PAUSED],
    [spec.unsafe, f.UNSAFE],
    [spec.tls != null, f.TLS],
    [spec.autoConverge != null, f.AUTO_CONVERGE],
    [spec.postCopy, f.POSTCOPY],
    [spec.parallelConnections != null, f.PARALLEL],
    [spec.zeroCopy, f.ZEROCOPY],
    [spec.compression != null, f.COMPRESSED],
    [spec.abortOnIoError, f.ABORT_ON_ERROR]
  ]
  return flags(f.LIVE, f.PEER2PEER, ...bits.map(([on, bit]) => (on ? bit : 0)))
}

export function migrationParams(spec: MigrationSpec) {
  const texts = {
    migrate_uri: spec.migrateUri,
    listen_address: spec.listenAddress,
    destination_xml: spec.destinationXml,
    persistent_xml: spec.persistentXml,
    destination_name: spec.destinationName,
    graphics_uri: spec.graphicsUri,
    'tls.destination': spec.tls?.destinationName,
    compression: spec.compression?.method
  }
  const ints = {
    'auto_converge.initial': spec.autoConverge?.initial,
    'auto_converge.increment': spec.autoConverge?.increment,
    'parallel.connections': spec.parallelConnections
  }
  return present(
    ...Object.entries(texts).map(([field, value]) => (value == null ? null : text(field, value))),
    ...Object.entries(ints).map(([field, value]) => (value == null ? null : int(field, value))),
    spec.bandwidthMiBs == null ? null : ullong('bandwidth', spec.bandwidthMiBs)
  )
}
