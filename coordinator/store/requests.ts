import { Fault } from '../../common/fault.js'
import { contentHash } from '../../common/ids.js'
import { parsed, sql, type Reader, type Tx } from './query.js'

export type Request = { id: string; method: string; actor: string; content: unknown }

/**
 * The same request has one effect and one answer: the answer is written down in the transaction of the
 * effect, so that no crash comes between them. A failure is not kept: the same request may be tried again.
 */
export function once<Answer extends object>(
  tx: Tx,
  { id, method, actor, content }: Request,
  now: number,
  effect: () => Answer
): Answer {
  const hash = contentHash({ method, actor, content })
  const known = earlierAnswer(tx, id, hash)
  if (known) return known as Answer
  const answer = effect()
  tx.run(
    sql.insertInto('request').values({
      id,
      method,
      actor,
      contentHash: hash,
      answerJson: JSON.stringify(answer),
      created: now
    })
  )
  return answer
}

/** The answer that a request got before; null where it is new. */
export function answered(reader: Reader, { id, method, actor, content }: Request): object | null {
  return earlierAnswer(reader, id, contentHash({ method, actor, content }))
}

function earlierAnswer(reader: Reader, id: string, hash: string): object | null {
  const known = reader.first(
    sql.selectFrom('request').select(['contentHash', 'answerJson', 'method']).where('id', '=', id)
  )
  if (!known) return null
  if (known.contentHash === hash) return parsed(known.answerJson)
  throw new Fault('REQUEST_ID_REUSED', `request id ${id} was used for another request`, {
    facts: { method: known.method },
    violations: [{ field: 'request_id', description: 'was used for another request' }]
  })
}

/** Answers are kept for a day and longer: the newest 100,000 in any case. */
export function forgetRequests(tx: Tx, before: number): void {
  tx.run(
    sql
      .deleteFrom('request')
      .where('created', '<', before)
      .where('id', 'not in', sql.selectFrom('request').select('id').orderBy('created', 'desc').limit(100_000))
  )
}
