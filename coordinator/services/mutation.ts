import type { Clock } from '../../common/clock.js'
import type { Context } from '../../common/rpc.js'
import { answered, once } from '../store/requests.js'
import type { Tx } from '../store/query.js'
import type { Store } from '../store/store.js'
import { actorOf } from './actor.js'

export { actorOf } from './actor.js'

/** Writes the audit record of a request in the transaction of its effect; the result takes that back. */
export type EffectAudit = { recordEffect(tx: Tx, requestId: string): () => void }

export type Asked = { requestId: string; content: unknown }

/** Changes to the store that clients ask for: effect and answer in one transaction, once for each request id. */
export class Mutations {
  readonly store: Store
  readonly clock: Clock
  readonly #audit: EffectAudit

  constructor(store: Store, clock: Clock, audit: EffectAudit) {
    this.store = store
    this.clock = clock
    this.#audit = audit
  }

  /**
   * `content` is the checked request: the same id with other contents is refused. The answer must be plain
   * data, since it is kept as JSON.
   */
  perform<Answer extends object>(
    method: string,
    { requestId, content }: Asked,
    { caller, signal }: Pick<Context, 'caller' | 'signal'>,
    effect: (tx: Tx, actor: string) => Answer
  ): Answer {
    // Nothing is begun for a caller that has gone.
    signal.throwIfAborted()
    const actor = actorOf(caller)
    let takeBack = () => {}
    try {
      return this.store.transaction(tx => {
        const request = { id: requestId, method, actor, content }
        return once(tx, request, this.clock.wall(), () => {
          const answer = effect(tx, actor)
          takeBack = this.#audit.recordEffect(tx, requestId)
          return answer
        }) as never
      }) as Answer
    } catch (error) {
      takeBack()
      throw error
    }
  }

  /** The answer that this request got before, without a transaction; null where it is new. */
  earlier(method: string, { requestId, content }: Asked, { caller }: Pick<Context, 'caller'>): object | null {
    return answered(this.store.read, { id: requestId, method, actor: actorOf(caller), content })
  }
}
