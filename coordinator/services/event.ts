import { setImmediate } from 'node:timers/promises'
import { serverStream, unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { EventServiceDefinition } from '../../proto/generated/types/drover/v1/EventService.js'
import { watchEvents } from '../events.js'
import type { Findings } from '../finding.js'
import { verifyAuditTrail } from '../store/audit-records.js'
import { severityRank } from '../store/events.js'
import { sql } from '../store/query.js'
import { storageDomain } from '../store/storage-domains.js'
import type { Store } from '../store/store.js'
import { auditMessage, eventMessage } from './event-message.js'
import type { Lists, ListSpec } from './list.js'

const severities = ['info', 'warning', 'error', 'alert'] as const

const eventSpec: ListSpec = {
  filters: {
    severity: { column: 'severity', kind: 'enum', values: severities },
    kind: { column: 'kind', kind: 'text' },
    vm_id: { column: 'vmId', kind: 'id' },
    host_id: { column: 'hostId', kind: 'id' }
  },
  orders: { sequence: 'sequence', time: 'time' },
  standardOrder: 'sequence desc',
  id: 'sequence'
}
const auditSpec: ListSpec = {
  filters: {
    actor: { column: 'actor', kind: 'text' },
    action: { column: 'action', kind: 'text' },
    object: { column: 'object', kind: 'text' }
  },
  orders: { sequence: 'sequence' },
  standardOrder: 'sequence desc',
  id: 'sequence'
}

export type RunAudit = (storageDomainId: string | null, signal: AbortSignal) => Promise<Findings>

export function eventService(
  store: Store,
  lists: Lists,
  runAudit: RunAudit
): Handlers<EventServiceDefinition> {
  return {
    listEvents: unary({
      check: fields => lists.read(fields, eventSpec),
      method: async request => {
        const query = sql.selectFrom('event').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, eventSpec)
        return { events: rows.map(eventMessage), nextPageToken }
      }
    }),
    watchEvents: serverStream({
      check: fields => ({
        after: Number(fields.int64('afterSequence', -1n, BigInt(Number.MAX_SAFE_INTEGER))),
        severity: fields.choiceOr('minSeverity', 'SEVERITY_UNSPECIFIED', 'SEVERITY_INFO', [
          'SEVERITY_INFO',
          'SEVERITY_WARNING',
          'SEVERITY_ERROR',
          'SEVERITY_ALERT'
        ])
      }),
      method: async function* ({ after, severity }, { signal }) {
        const word = severities.find(each => `SEVERITY_${each.toUpperCase()}` === severity) ?? 'info'
        for await (const event of watchEvents(store, { after, leastRank: severityRank[word] }, signal)) {
          yield eventMessage(event)
        }
      }
    }),
    listAuditRecords: unary({
      check: fields => lists.read(fields, auditSpec),
      method: async request => {
        const query = sql.selectFrom('audit').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, auditSpec)
        return { records: rows.map(auditMessage), nextPageToken }
      }
    }),
    verifyAuditTrail: unary({
      check: () => null,
      method: async (_, { signal }) => {
        const { records, firstBad } = await verifyAuditTrail(store.read, async () => {
          signal.throwIfAborted()
          await setImmediate()
        })
        return { records: String(records), firstBadSequence: String(firstBad) }
      }
    }),
    runAudit: unary({
      check: fields => fields.optionalUuid('storageDomainId'),
      method: (storageDomainId, { signal }) => {
        if (storageDomainId !== null) storageDomain(store.read, storageDomainId)
        return runAudit(storageDomainId, signal)
      }
    })
  }
}
