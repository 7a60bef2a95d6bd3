import type { Clock } from '../common/clock.js'
import type { CoordinatorConfig } from './config.js'
import { cutAuditTrail } from './store/audit-records.js'
import { forgetEvents } from './store/events.js'
import { forgetJobs } from './store/jobs.js'
import { forgetRequests } from './store/requests.js'
import type { Store } from './store/store.js'

const day = 86_400_000

/** What is older than it must be kept goes; of the audit trail only whole days, behind an anchor. */
export function forgetOld(
  store: Store,
  { event_days, audit_days, job_days }: Pick<CoordinatorConfig, 'event_days' | 'audit_days' | 'job_days'>,
  clock: Clock
): void {
  const now = clock.wall()
  const today = now - (now % day)
  store.transaction(tx => forgetEvents(tx, now - event_days * day))
  store.transaction(tx => forgetJobs(tx, now - job_days * day))
  store.transaction(tx => forgetRequests(tx, now - day))
  store.transaction(tx => cutAuditTrail(tx, today - audit_days * day, now))
}
