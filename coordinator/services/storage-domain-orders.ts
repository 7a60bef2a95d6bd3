import { Fault } from '../../common/fault.js'
import { hostsInService } from '../jobs/storage-domain-steps.js'
import { numberOf } from '../jobs/storage-host.js'
import { host } from '../store/hosts.js'
import { sql, type Reader } from '../store/query.js'
import type { StorageDomain } from '../store/storage-domains.js'

// What speaks for and against orders to storage domains.

/** Two storage domains at one place would not both be found again. */
export function throwIfPlaceTaken(reader: Reader, connectionJson: string): void {
  const other = reader.first(
    sql.selectFrom('storageDomain').select(['id', 'name']).where('connectionJson', '=', connectionJson)
  )
  if (!other) return
  throw new Fault('ALREADY_EXISTS', `storage domain ${other.name} lies at that place`, {
    facts: { storageDomain: other.id }
  })
}

/** The host that was named, if it is up; else any that is. */
export function someHost(reader: Reader, hostId: string | null, requestId: string): string {
  if (hostId !== null) {
    const { name, status } = host(reader, hostId)
    if (status !== 'up') throw new Fault('WRONG_STATE', `host ${name} is ${status}; it must be up`)
    return hostId
  }
  const up = hostsInService(reader)
  const chosen = up[numberOf(requestId) % up.length]
  if (chosen === undefined) throw new Fault('NO_HOST', 'no host is up')
  return chosen
}

export function throwIfNobody(reader: Reader): void {
  if (hostsInService(reader).length === 0) throw new Fault('NO_HOST', 'no host is up')
}

export function throwUnless(
  domain: StorageDomain,
  phases: ReadonlyArray<StorageDomain['phase']>,
  what: string
): void {
  if (phases.includes(domain.phase)) return
  const must = phases.join(' or ')
  throw new Fault(
    'WRONG_STATE',
    `storage domain ${domain.name} is ${domain.status}; it must be ${must} to ${what}`
  )
}

/** VMs that are not down and have a disk or their lease there. */
export const runningUsers = (reader: Reader, storageDomainId: string) =>
  reader.all(
    sql
      .selectFrom('vm')
      .leftJoin('vmImage', 'vmImage.vmId', 'vm.id')
      .leftJoin('disk', 'disk.id', 'vmImage.diskId')
      .select(['vm.id', 'vm.name'])
      .where('vm.status', 'not in', ['down', 'creating'])
      .where(eb =>
        eb.or([
          eb('disk.storageDomainId', '=', storageDomainId),
          eb('vm.leaseStorageDomainId', '=', storageDomainId)
        ])
      )
      .limit(1)
  )

/** A VM or template with something on it, in words; null where only disks of nobody are left. */
export function ownerIn(reader: Reader, id: string): string | null {
  const disk = reader.first(
    sql
      .selectFrom('diskView')
      .select(['vmId', 'templateId'])
      .where('storageDomainId', '=', id)
      .where(eb => eb.or([eb('vmId', '<>', ''), eb('templateId', '<>', '')]))
      .limit(1)
  )
  if (disk) return disk.vmId === '' ? `template ${disk.templateId}` : `VM ${disk.vmId}`
  const leased = reader.first(
    sql.selectFrom('vm').select('name').where('leaseStorageDomainId', '=', id).limit(1)
  )
  return leased ? `the lease of VM ${leased.name}` : null
}
