import type { StaleStore } from './stale-store.js'
import type { Reader } from './store/query.js'
import { leaseOf } from './store/vms.js'

/** Whether it is known where the VM runs, if it runs: see stale-store.ts. Otherwise a start could make two of it. */
export const isKnownVm = (reader: Reader, vmId: string, stale: Pick<StaleStore, 'isKnown'>): boolean =>
  stale.isKnown(vmId, leaseOf(reader, vmId) !== null)
