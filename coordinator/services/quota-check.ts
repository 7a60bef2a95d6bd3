import { Fault } from '../../common/fault.js'
import { decideQuota, type Resource } from '../quota/decide.js'
import { disk } from '../store/disks.js'
import { addEvent } from '../store/events.js'
import type { Tx } from '../store/query.js'
import {
  putDiskUnder,
  putVmUnder,
  quota,
  quotaLimits,
  quotaMode,
  quotaOfActor,
  quotaOfDisk,
  quotaOfVm,
  useOf
} from '../store/quotas.js'
import { vm } from '../store/vms.js'

// Quotas are looked at after the rows of what is wanted are there and before the transaction ends: what does not
// fit throws, and nothing of it was.

type Now = number

/** A new VM and its new disks come under the quota of who makes them. Its CPUs count once it starts. */
export function enlistVm(tx: Tx, vmId: string, diskIds: readonly string[], actor: string, now: Now): void {
  const quotaId = ownQuota(tx, actor)
  if (quotaId === null) return
  putVmUnder(tx, vmId, quotaId)
  for (const diskId of diskIds) putDiskUnder(tx, diskId, quotaId)
  chargeDisks(tx, diskIds, actor, now)
}

export function enlistDisk(tx: Tx, diskId: string, actor: string, now: Now): void {
  const quotaId = ownQuota(tx, actor)
  if (quotaId === null) return
  putDiskUnder(tx, diskId, quotaId)
  chargeDisks(tx, [diskId], actor, now)
}

function ownQuota(tx: Tx, actor: string): string | null {
  const mode = quotaMode(tx)
  if (mode === 'disabled') return null
  const quotaId = quotaOfActor(tx, actor)
  if (quotaId === null && mode === 'enforced') {
    throw new Fault('QUOTA_EXCEEDED', `no quota names ${actor} or their role as a consumer`)
  }
  return quotaId
}

/** After the job that starts the VM was made. */
export function chargeStart(tx: Tx, vmId: string, actor: string, now: Now): void {
  const quotaId = quotaOfVm(tx, vmId)
  if (quotaId !== null) throwIfOver(tx, quotaId, 'cluster', vm(tx, vmId).clusterId, actor, now)
}

/** After disks were made or the job that enlarges them. */
export function chargeDisks(tx: Tx, diskIds: readonly string[], actor: string, now: Now): void {
  const seen = new Set<string>()
  for (const diskId of diskIds) {
    const quotaId = quotaOfDisk(tx, diskId)
    const { storageDomainId } = disk(tx, diskId)
    if (quotaId === null || seen.has(`${quotaId}/${storageDomainId}`)) continue
    seen.add(`${quotaId}/${storageDomainId}`)
    throwIfOver(tx, quotaId, 'storageDomain', storageDomainId, actor, now)
  }
}

function throwIfOver(
  tx: Tx,
  quotaId: string,
  kind: 'cluster' | 'storageDomain',
  objectId: string,
  actor: string,
  now: Now
): void {
  const mode = quotaMode(tx)
  if (mode === 'disabled') return
  const { name, thresholdPercent, gracePercent } = quota(tx, quotaId)
  for (const limit of quotaLimits(tx, quotaId)) {
    if (limit.kind !== kind || (limit.objectId !== '' && limit.objectId !== objectId)) continue
    const use = useOf(tx, limit)
    const asked: Array<[Resource, number, number | null]> = [
      ['vcpus', use.vcpus, limit.vcpus],
      ['memory', use.memoryBytes, limit.memoryBytes],
      ['storage', use.storageBytes, limit.storageBytes]
    ]
    for (const [resource, after, most] of asked) {
      const answer = decideQuota(mode, { resource, after, limit: most, thresholdPercent, gracePercent })
      if (answer.kind === 'fine') continue
      const text = `quota ${name}: ${answer.text}`
      if (answer.kind === 'refused') throw new Fault('QUOTA_EXCEEDED', text, { facts: { quota: quotaId } })
      addEvent(tx, { severity: 'warning', kind: 'quota.warning', text, actor }, now)
    }
  }
}
