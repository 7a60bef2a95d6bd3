import type { Audit } from '../common/audit.js'
import type { Logger } from '../common/log.js'
import { actorOf } from './services/mutation.js'
import { addAuditRecord } from './store/audit-records.js'
import { addEvent } from './store/events.js'
import type { Store } from './store/store.js'

/** Every attempt to change something leaves one record, also a refused one; a copy goes to the log. */
export function auditTrail(store: Store, log: Logger): Audit {
  return async ({ method, action, caller, object, requestId, digest, outcome, started }) => {
    const { role, serial, address } = caller
    const actor = actorOf(caller)
    const result = outcome === 'ok' ? 'OK' : outcome
    log.info({ audit: { method, action, actor, address, object, requestId, outcome: result } }, 'audit')
    store.transaction(tx => {
      const who = { actor, role: role.toLowerCase(), serial: serial ?? '', address }
      const what = { method: method.slice(1), action, object, digest, requestId, outcome: result }
      addAuditRecord(tx, { time: started, ...who, ...what })
      if (result === 'PERMISSION_DENIED' || result === 'UNAUTHENTICATED') {
        const text = `${actor} at ${address} was refused ${action}`
        addEvent(tx, { severity: 'warning', kind: 'access.denied', text, actor }, started)
      }
    })
  }
}
