import { Fault } from '../common/fault.js'
import { contentHash } from '../common/ids.js'
import type { Stamp } from './gate.js'
import type { Answer, Beginning, Entry } from './ledger.js'

/** Durable: `begin` and `finish` return once the entry would survive a power cut. */
export type RequestLedger = {
  find(requestId: string): Entry | undefined
  begin(beginning: Beginning): Promise<void>
  finish(requestId: string, answer: Answer): Promise<void>
}

/** Writes down an epoch not seen before, before its first command has an effect. */
export type RememberEpoch = (epoch: number) => Promise<void>

export type Request = {
  stamp: Stamp
  /** Method that was called, for example "HostService.Welcome". */
  kind: string
  /** Everything that was asked for, without the stamp: the same id must come with the same contents. */
  content: object
  objects?: Record<string, string>
}

/**
 * Mutations that are over within a second. The same request id gets the same answer, however often and
 * whenever it is asked, and its work is done once. Only work that a crash interrupted is done again, so the
 * work itself must bear being repeated. (Longer work: tasks.ts.)
 */
export class Requests {
  readonly #ledger: RequestLedger
  readonly #rememberEpoch: RememberEpoch
  readonly #running = new Map<string, { digest: string; answer: Promise<Answer> }>()

  constructor(ledger: RequestLedger, rememberEpoch: RememberEpoch) {
    this.#ledger = ledger
    this.#rememberEpoch = rememberEpoch
  }

  async once<T>(request: Request, work: () => Promise<T>): Promise<T> {
    const digest = digestOf(request)
    const { requestId } = request.stamp
    const known = this.#running.get(requestId) ?? this.#ledger.find(requestId)
    throwIfReused(requestId, known, digest)
    const answer = this.#ledger.find(requestId)?.answer ?? (await this.#join(request, digest, work))
    if (!answer.ok) throw answer.fault
    return answer.value as T
  }

  #join(request: Request, digest: string, work: () => Promise<unknown>): Promise<Answer> {
    const { requestId } = request.stamp
    const running = this.#running.get(requestId)
    if (running) return running.answer
    const answer = this.#perform(request, digest, work).finally(() => this.#running.delete(requestId))
    this.#running.set(requestId, { digest, answer })
    return answer
  }

  async #perform(request: Request, digest: string, work: () => Promise<unknown>): Promise<Answer> {
    const { requestId, coordinatorEpoch } = request.stamp
    await this.#rememberEpoch(coordinatorEpoch)
    if (!this.#ledger.find(requestId)) {
      await this.#ledger.begin({
        id: requestId,
        digest,
        kind: request.kind,
        objects: request.objects ?? {},
        epoch: coordinatorEpoch,
        isTask: false
      })
    }
    const answer = await answerOf(work)
    await this.#ledger.finish(requestId, answer)
    return answer
  }
}

/** What the request asked for, without who asked and when. */
export const digestOf = ({ kind, content }: Request) => contentHash({ kind, content })

/** Another request under a used id is refused, whether the first has ended or not. */
export function throwIfReused(
  requestId: string,
  known: { digest: string } | undefined,
  digest: string
): void {
  if (!known || known.digest === digest) return
  throw new Fault('REQUEST_ID_REUSED', `request ${requestId} was used before with other contents`)
}

/**
 * A fault is an answer, and is remembered. A bug is none, nor is a failure that says "perhaps later": both
 * leave the entry open, so that the same id may try again.
 */
async function answerOf(work: () => Promise<unknown>): Promise<Answer> {
  try {
    return { ok: true, value: await work() }
  } catch (error) {
    if (error instanceof Fault && !isTransient(error)) return { ok: false, fault: error }
    throw error
  }
}

/** Nothing was decided: the caller repeats the same request. */
export const isTransient = (fault: Fault) =>
  fault.status === 'UNAVAILABLE' || fault.status === 'DEADLINE_EXCEEDED'
