import type { Lease__Output } from '../proto/generated/types/drover/agent/v1/Lease.js'
import type { Task__Output } from '../proto/generated/types/drover/agent/v1/Task.js'
import type { Vm__Output } from '../proto/generated/types/drover/agent/v1/Vm.js'
import type { Volume__Output } from '../proto/generated/types/drover/agent/v1/Volume.js'
import { found, type Finding } from './finding.js'
import { holdersOf } from './store/claims.js'
import { childrenOf, disksOfStorageDomain, volumeOrNull, volumesOf } from './store/disks.js'
import { unfinishedJobs } from './store/jobs.js'
import { sql, type Reader } from './store/query.js'
import { leaseOf, vmOrNull, vms } from './store/vms.js'
import { wallOf, wordOf } from './wire.js'

// The invariants of reliability.md §4 that can be seen from here. PURE but for reading the store.

export type HostLook = { hostId: string; vms: Vm__Output[]; tasks: Task__Output[] }

const notRunning: ReadonlySet<string> = new Set(['down', 'migrating_to', 'wait_for_launch', ''])
const minute = 60_000

/** I1, I7, I12 and I14: what hosts say, among themselves and against the record. */
export function hostFindings(reader: Reader, looks: readonly HostLook[], now: number): Finding[] {
  return [
    ...looks.flatMap(look => lostTasks(look, now)),
    ...runsTwice(looks),
    ...writers(reader, looks),
    ...differences(reader, looks)
  ]
}

const runningOn = ({ vms: all }: HostLook) =>
  all.filter(({ status }) => !notRunning.has(wordOf('VM_STATUS', status)))

function runsTwice(looks: readonly HostLook[]): Finding[] {
  const hostsOf = groupBy(looks.flatMap(look => runningOn(look).map(vm => [vm.vmId, look.hostId] as const)))
  return [...hostsOf].flatMap(([vmId, hosts]) =>
    hosts.length < 2 ? [] : [found('I1', `vm ${vmId}`, `runs on hosts ${hosts.join(' and ')}`)]
  )
}

function writers(reader: Reader, looks: readonly HostLook[]): Finding[] {
  const uses = looks.flatMap(look =>
    runningOn(look).flatMap(({ vmId, spec }) =>
      (spec?.disks ?? [])
        .filter(disk => !disk.readOnly && !disk.shareable)
        .map(disk => [disk.volumeId, vmId] as const)
    )
  )
  return [...lunWriters(looks), ...volumeWriters(reader, uses)]
}

function lunWriters(looks: readonly HostLook[]): Finding[] {
  const uses = looks.flatMap(look =>
    runningOn(look).flatMap(({ vmId, spec }) =>
      (spec?.luns ?? []).filter(lun => !lun.readOnly && !lun.shareable).map(lun => [lun.wwid, vmId] as const)
    )
  )
  return [...groupBy(uses)].flatMap(([wwid, users]) => {
    const vmIds = [...new Set(users)]
    return vmIds.length < 2 ? [] : [found('I1', `LUN ${wwid}`, `is written by VMs ${vmIds.join(' and ')}`)]
  })
}

function volumeWriters(reader: Reader, uses: ReadonlyArray<readonly [string, string]>): Finding[] {
  return [...groupBy(uses)].flatMap(([volumeId, users]) => {
    const vmIds = [...new Set(users)]
    const isShared = volumeOrNull(reader, volumeId)?.isShared ?? false
    const hasChildren = childrenOf(reader, volumeId).length > 0
    return [
      ...(vmIds.length > 1
        ? [found('I1', `volume ${volumeId}`, `is written by VMs ${vmIds.join(' and ')}`)]
        : []),
      ...(isShared || hasChildren
        ? [found('I7', `volume ${volumeId}`, `is open for writing by VM ${vmIds[0]} and others build on it`)]
        : [])
    ]
  })
}

/** I14: the record against reality, for the hosts that were asked. */
function differences(reader: Reader, looks: readonly HostLook[]): Finding[] {
  const asked = new Set(looks.map(({ hostId }) => hostId))
  const places = new Map(looks.flatMap(look => runningOn(look).map(vm => [vm.vmId, look.hostId] as const)))
  const record = vms(reader).filter(({ id }) => holdersOf(reader, 'vm', id).length === 0)
  const lost = record.flatMap(({ id, name, hostId, status }) => {
    if (hostId === null || !asked.has(hostId) || status === 'down' || status === 'unknown') return []
    const place = places.get(id)
    return place === hostId
      ? []
      : [
          found(
            'I14',
            `vm ${id}`,
            `${name} is recorded as ${status} and ${place ? `runs on ${place}` : 'does not run'}`,
            hostId
          )
        ]
  })
  const forgotten = [...places].flatMap(([id, hostId]) => {
    const row = vmOrNull(reader, id)
    if (row && (row.status !== 'down' || holdersOf(reader, 'vm', id).length > 0)) return []
    return [
      found(
        'I14',
        `vm ${id}`,
        row ? `${row.name} is recorded as down and runs` : 'runs and is not recorded',
        hostId
      )
    ]
  })
  return [...lost, ...forgotten]
}

function lostTasks({ hostId, tasks }: HostLook, now: number): Finding[] {
  return tasks.flatMap(({ taskId, kind, state, created }) => {
    const age = now - (wallOf(created) ?? now)
    if (state !== 'TASK_STATE_LOST' || age < minute) return []
    return [found('I12', `task ${taskId}`, `${kind} was lost with its agent and nobody asked again`, hostId)]
  })
}

/** I12 and I18: jobs, claims and audit records. */
export function storeFindings(reader: Reader, now: number): Finding[] {
  const claims = reader.all(
    sql
      .selectFrom('claim')
      .innerJoin('job', 'job.id', 'claim.jobId')
      .select(['claim.objectType', 'claim.objectId', 'claim.jobId'])
      .where('job.ended', 'is not', null)
  )
  const unaudited = reader.all(
    sql
      .selectFrom('job')
      .leftJoin('audit', 'audit.requestId', 'job.requestId')
      .select(['job.id', 'job.kind'])
      .where('job.requestId', '<>', '')
      .where('audit.sequence', 'is', null)
      .where('job.created', '<', now - minute)
      .where('job.created', '>', oldestAuditRecord(reader))
  )
  const stuck = reader.all(sql.selectFrom('job').select(['id', 'kind']).where('state', '=', 'stuck'))
  return [
    ...claims.map(row =>
      found('I12', `${row.objectType} ${row.objectId}`, `is claimed by job ${row.jobId}, which is over`)
    ),
    ...unaudited.map(row => found('I18', `job ${row.id}`, `${row.kind} has no audit record`)),
    ...stuck.map(row => found('I12', `job ${row.id}`, `${row.kind} is stuck`))
  ]
}

const oldestAuditRecord = (reader: Reader): number =>
  reader.first(sql.selectFrom('audit').select('time').orderBy('sequence').limit(1))?.time ??
  Number.MAX_SAFE_INTEGER

/** I4 and I5: volumes and leases of one storage domain, against the record. */
export function storageFindings(
  reader: Reader,
  storageDomainId: string,
  volumes: readonly Volume__Output[],
  leases: readonly Lease__Output[],
  hostId: string
): Finding[] {
  const busy = idsUnderWork(reader)
  const onStorage = new Map(volumes.map(volume => [volume.volumeId, volume]))
  const findings: Finding[] = []
  const disks = disksOfStorageDomain(reader, storageDomainId).filter(({ status }) => status === 'ok')
  for (const disk of disks.filter(({ id }) => !busy.has(id))) {
    for (const volume of volumesOf(reader, disk.id).filter(({ id }) => !busy.has(id))) {
      const wrong = wrongVolume(volume, onStorage.get(volume.id))
      if (wrong) findings.push(found('I4', `volume ${volume.id} of disk ${disk.name}`, wrong, hostId))
    }
  }
  for (const { volumeId, imageId } of volumes) {
    if (volumeOrNull(reader, volumeId) || busy.has(volumeId) || busy.has(imageId)) continue
    findings.push(
      found('I5', `volume ${volumeId} of image ${imageId}`, 'lies on storage and is not recorded', hostId)
    )
  }
  for (const { leaseId } of leases) {
    if (busy.has(leaseId) || leaseOf(reader, leaseId)) continue
    findings.push(found('I5', `lease ${leaseId}`, 'lies on storage and belongs to no VM', hostId))
  }
  return findings
}

type Recorded = ReturnType<typeof volumesOf>[number]

function wrongVolume(recorded: Recorded, actual: Volume__Output | undefined): string | null {
  if (!actual) return 'is recorded and does not lie on storage'
  if (actual.legality !== 'VOLUME_LEGALITY_LEGAL')
    return `is ${wordOf('VOLUME_LEGALITY', actual.legality) || 'of unknown legality'}`
  if (Number(actual.capacity) !== recorded.capacity) {
    return `has capacity ${actual.capacity} and is recorded with ${recorded.capacity}`
  }
  const format = wordOf('DISK_FORMAT', actual.format)
  if (format !== recorded.format) return `has format ${format} and is recorded as ${recorded.format}`
  return (actual.parentId || null) === recorded.parentId
    ? null
    : `lies over ${actual.parentId || 'nothing'} and is recorded over ${recorded.parentId ?? 'nothing'}`
}

/** Every id that an unfinished job mentions: what belongs to it is in progress, and no finding. */
function idsUnderWork(reader: Reader): ReadonlySet<string> {
  const text = unfinishedJobs(reader).map(({ context, objects }) => JSON.stringify([context, objects]))
  return new Set(text.join(' ').match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [])
}

function groupBy(pairs: ReadonlyArray<readonly [string, string]>): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const [key, value] of pairs) groups.set(key, [...(groups.get(key) ?? []), value])
  return groups
}
