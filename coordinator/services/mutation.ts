import type { Clock } from '../../common/clock.js'
import type { Caller } from '../../common/identity.js'
import type { Context } from '../../common/rpc.js'
import { answered, once } from '../store/requests.js'
import type { Tx } from '../store/query.js'
import type { Store } from '../store/store.js'

/** Who asks, as events, jobs and audit records name them: "local", "admin/NAME", "host/ID". */
export function actorOf({ role, id }: Caller): string {
  if (role === 'LOCAL_ADMIN') return 'local'
  return role === 'ANONYMOUS' ? 'anonymous' : `${role.toLowerCase()}/${id}`
}

export type Asked = { requestId: string; content: unknown }

/** Changes to the store that clients ask for: effect and answer in one transaction, once for each request id. */
export class Mutations {
  readonly store: Store
  readonly clock: Clock

  constructor(store: Store, clock: Clock) {
    this.store = store
    this.clock = clock
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
    return this.store.transaction(tx => {
      const request = { id: requestId, method, actor, content }
      return once(tx, request, this.clock.wall(), () => effect(tx, actor)) as never
    }) as Answer
  }

  /** The answer that this request got before, without a transaction; null where it is new. */
  earlier(method: string, { requestId, content }: Asked, { caller }: Pick<Context, 'caller'>): object | null {
    return answered(this.store.read, { id: requestId, method, actor: actorOf(caller), content })
  }
}
