import type { Lease__Output } from '../proto/generated/types/drover/agent/v1/Lease.js'
import type { HostLook } from './audit-rules.js'
import { found, type Finding } from './finding.js'
import { holdersOf } from './store/claims.js'
import { hostOrNull } from './store/hosts.js'
import type { Reader } from './store/query.js'
import { hostViews, type HostView } from './store/storage-domains.js'
import { leaseOf } from './store/vms.js'
import { wordOf } from './wire.js'

// I2: a VM with a lease runs only where the lease is held, by the present life of that host.

// A VM that is paused, or on its way, gives its lease back and takes it again.
const holding: ReadonlySet<string> = new Set(['powering_up', 'up', 'powering_down', 'reboot_in_progress'])

/** What the VMs of one storage domain's leases say, against who holds them. */
export function leaseFindings(
  reader: Reader,
  storageDomainId: string,
  leases: readonly Lease__Output[],
  looks: readonly HostLook[]
): Finding[] {
  const owners = new Map(leases.map(lease => [lease.leaseId, lease]))
  const views = hostViews(reader, storageDomainId)
  return looks.flatMap(({ hostId, vms }) => {
    const host = hostOrNull(reader, hostId)
    // Without a lock manager nothing is held, and the host says so.
    if (!host?.capabilities?.haLeases) return []
    return vms.flatMap(({ vmId, status, spec }) => {
      if (spec?.lease?.storageDomainId !== storageDomainId) return []
      if (!holding.has(wordOf('VM_STATUS', status)) || leaseOf(reader, vmId) === null) return []
      if (holdersOf(reader, 'vm', vmId).length > 0) return []
      const wrong = wrongOwner(owners.get(vmId), host, views)
      return wrong === null
        ? []
        : [found('I2', `vm ${vmId}`, `runs on host ${host.name}, and ${wrong}`, hostId)]
    })
  })
}

function wrongOwner(
  lease: Lease__Output | undefined,
  { id, sanlockHostId }: { id: string; sanlockHostId: number },
  views: readonly HostView[]
): string | null {
  if (!lease) return 'its lease does not exist'
  const { ownerSanlockHostId: owner, ownerGeneration } = lease
  if (owner === 0) return 'nobody holds its lease'
  if (owner !== sanlockHostId) return `its lease is held by host id ${owner}`
  const own = views.find(({ hostId }) => hostId === id)
  const alive = own?.leases.find(each => each.sanlockHostId === owner && each.state === 'live')
  if (!alive || alive.generation === ownerGeneration) return null
  return `its lease is held by life ${ownerGeneration} of the host, which is in life ${alive.generation}`
}
