import { auditFacts, type AuditEntry } from '../common/audit.js'
import type { Clock } from '../common/clock.js'
import type { Gate } from '../common/implement.js'
import type { Logger } from '../common/log.js'
import { actorOf } from './services/actor.js'
import { addAuditRecord } from './store/audit-records.js'
import { addEvent } from './store/events.js'
import type { Tx } from './store/query.js'
import type { Store } from './store/store.js'

type Attempt = Omit<AuditEntry, 'outcome'> & { isRecorded: boolean }

const mostAttempts = 10_000

/**
 * Every attempt to change something leaves one record, also a refused one; a copy goes to the log. What
 * succeeds is recorded in the transaction of its effect, so that no crash leaves one without the other.
 */
export class AuditTrail {
  readonly #store: Store
  readonly #clock: Clock
  readonly #log: Logger
  /** Attempts under way, by request id. */
  readonly #attempts = new Map<string, Attempt>()

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store
    this.#clock = clock
    this.#log = log
  }

  /** Sees every call before it is carried out. */
  readonly gate: Gate = ({ message, policy, path, caller }) => {
    if (policy.readOnly) return
    const facts = auditFacts(message, policy.object)
    if (facts.requestId === '' || this.#attempts.size >= mostAttempts) return
    const about = { method: path, action: policy.action, caller, started: this.#clock.wall() }
    this.#attempts.set(facts.requestId, { ...about, ...facts, isRecorded: false })
  }

  /** The effect of a request happens in this transaction; the result takes it back if that fails. */
  recordEffect(tx: Tx, requestId: string): () => void {
    const attempt = this.#attempts.get(requestId)
    if (!attempt) return () => {}
    record(tx, { ...attempt, outcome: 'OK' })
    attempt.isRecorded = true
    return () => (attempt.isRecorded = false)
  }

  /** Hears of every call when it is over. */
  readonly audit = async (entry: AuditEntry): Promise<void> => {
    const { method, action, caller, object, requestId, started } = entry
    const outcome = entry.outcome === 'ok' ? 'OK' : entry.outcome
    const actor = actorOf(caller)
    const { address } = caller
    this.#log.info({ audit: { method, action, actor, address, object, requestId, outcome } }, 'audit')
    const attempt = this.#attempts.get(requestId)
    this.#attempts.delete(requestId)
    if (outcome === 'OK' && attempt?.isRecorded) return
    this.#store.transaction(tx => {
      record(tx, { ...entry, outcome })
      if (outcome === 'PERMISSION_DENIED' || outcome === 'UNAUTHENTICATED') {
        const text = `${actor} at ${address} was refused ${action}`
        addEvent(tx, { severity: 'warning', kind: 'access.denied', text, actor }, started)
      }
    })
  }
}

function record(
  tx: Tx,
  { method, action, caller, object, requestId, digest, outcome, started }: AuditEntry
): void {
  const { role, serial, address } = caller
  const who = { actor: actorOf(caller), role: role.toLowerCase(), serial: serial ?? '', address }
  const what = { method: method.slice(1), action, object, digest, requestId, outcome }
  addAuditRecord(tx, { time: started, ...who, ...what })
}
