import type { StorageConnection } from '../storage/connections/connection.js'
import type { Description, MonitorReport } from '../storage/verbs.js'

// How a storage domain is shown: from what is known of it, and from what its worker reported last. PURE.

export type StorageHealth = 'inactive' | 'activating' | 'active' | 'problem' | 'unresponsive'

export type StorageDomainState = {
  storageDomainId: string
  health: StorageHealth
  problem: string
  connection: StorageConnection | null
  description: Description | null
  report: MonitorReport | null
  /** When it was last read well; null if never. */
  lastOk: number | null
}

export type SeenStorageDomain = Omit<StorageDomainState, 'health' | 'problem'> & {
  /** Null: it is connected, and not in use here. */
  sanlockHostId: number | null
  isActivating: boolean
  /** Its worker has not answered for too long. */
  isSilent: boolean
}

export function shownState(seen: SeenStorageDomain): StorageDomainState {
  const { storageDomainId, connection, description, lastOk } = seen
  const report = withoutStaleHosts(seen.report, seen.isSilent)
  return { storageDomainId, connection, description, report, lastOk, ...healthOf(seen) }
}

function healthOf(seen: SeenStorageDomain): Pick<StorageDomainState, 'health' | 'problem'> {
  const { sanlockHostId, isActivating, isSilent, report } = seen
  if (isActivating) return { health: isSilent ? 'unresponsive' : 'activating', problem: '' }
  if (sanlockHostId === null) return { health: isSilent ? 'unresponsive' : 'inactive', problem: '' }
  if (isSilent) return { health: 'unresponsive', problem: 'the storage does not answer' }
  if (report === null) return { health: 'activating', problem: '' }
  if (report.problem !== null) return { health: 'problem', problem: report.problem }
  if (!report.hostIdHeld) return { health: 'problem', problem: 'the host id is not held' }
  return { health: 'active', problem: '' }
}

/** What was seen before the storage fell silent says nothing of who is alive now. */
function withoutStaleHosts(report: MonitorReport | null, isSilent: boolean): MonitorReport | null {
  return report !== null && isSilent ? { ...report, hosts: [] } : report
}
