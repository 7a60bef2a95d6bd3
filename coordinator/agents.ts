import type { Metadata } from '@grpc/grpc-js'
import { sleep, type Clock } from '../common/clock.js'
import { RpcClient, usualDeadline, type Method } from '../common/client.js'
import { within } from '../common/deadline.js'
import { Fault, isReason } from '../common/fault.js'
import type { CertificateIdentity } from '../common/identity.js'
import type { Logger } from '../common/log.js'
import type { Certificates } from '../common/tls.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Hello__Output } from '../proto/generated/types/drover/agent/v1/Hello.js'
import type { Task__Output } from '../proto/generated/types/drover/agent/v1/Task.js'
import { agentServices } from '../proto/load.js'
import { AgentContracts } from './agent-contracts.js'
import type { Hosts, TaskOptions, TaskResult } from './jobs/hosts.js'
import { hostOrNull } from './store/hosts.js'
import type { Store } from './store/store.js'
import { TaskReports, type Followed } from './task-reports.js'

export type AgentsOptions = {
  store: Store
  clock: Clock
  log: Logger
  /** The certificates to connect with; they change while the coordinator runs. */
  own(): Certificates
  installationId: string
  denies(identity: CertificateIdentity): boolean
  epoch(): number
  /** UUID of this life of the coordinator. */
  incarnation: string
  /** A host has refused this coordinator, having seen a newer one. */
  onStale(hostId: string, seenEpoch: number): void
  /** A host has accepted the greeting of this coordinator. */
  onObeyed(hostId: string): void
}

type Connection = { client: RpcClient; address: string; own: Certificates; isReady: boolean }

/** Where the outcome is asked for although the stream should have told it. */
const askEvery = seconds(5)
const acknowledgeAfter = seconds(60)

/**
 * One client for each host, over mutual TLS: the host must show the certificate of the host that is meant.
 * Commands carry the coordinator's epoch and the host's generation; nobody else needs to know them.
 */
export class Agents implements Hosts {
  readonly #options: AgentsOptions
  readonly #connections = new Map<string, Connection>()
  readonly #acknowledging = new Set<() => void>()
  readonly tasks = new TaskReports()
  readonly #contracts = new AgentContracts()
  /** Serial numbers of the certificates that hosts use, as their connections showed them. */
  readonly serials = new Map<string, string>()

  constructor(options: AgentsOptions) {
    this.#options = options
  }

  /** Proven to be stopped, or deleted. */
  isGone(hostId: string): boolean {
    const row = hostOrNull(this.#options.store.read, hostId)
    return row === null || row.health === 'proven_stopped'
  }

  /** Whether commands may be sent: the host was greeted over a stream that stands. */
  isReady(hostId: string): boolean {
    return this.#connections.get(hostId)?.isReady ?? false
  }

  /** Only observe.ts says so. */
  setReady(hostId: string, isReady: boolean): void {
    const connection = this.#connections.get(hostId)
    if (connection) connection.isReady = isReady
    if (isReady) this.#options.onObeyed(hostId)
  }

  ready(): string[] {
    return [...this.#connections].filter(([, { isReady }]) => isReady).map(([hostId]) => hostId)
  }

  /** Finds out what an agent of another version lacks; returns what people should hear of it, if it is new. */
  learn(hostId: string, hello: Hello__Output, signal: AbortSignal): Promise<string[] | null> {
    const { client } = this.#connection(hostId)
    return this.#contracts.learn(hostId, hello, client, signal, this.#options.log)
  }

  /** What the agent of a host is too old for, in words. */
  lacks(hostId: string): string[] {
    return this.#contracts.lacks(hostId)
  }

  /** Ends the connection; the next call makes a new one. */
  drop(hostId: string): void {
    this.#connections.get(hostId)?.client.close()
    this.#connections.delete(hostId)
  }

  close(): void {
    for (const forget of this.#acknowledging) forget()
    for (const hostId of [...this.#connections.keys()]) this.drop(hostId)
  }

  async call<Q, R>(
    hostId: string,
    method: Method<Q, R>,
    request: Q,
    signal: AbortSignal,
    deadline: Seconds = usualDeadline
  ): Promise<R> {
    this.#throwUnlessReady(hostId, method, request)
    return this.callAnyway(hostId, method, request, signal, deadline)
  }

  /** Also to a host that was not greeted yet: for the greeting itself. */
  async callAnyway<Q, R>(
    hostId: string,
    method: Method<Q, R>,
    request: Q,
    signal: AbortSignal,
    deadline: Seconds = usualDeadline
  ): Promise<R> {
    const { client } = this.#connection(hostId)
    try {
      return await client.call(method, this.#stamped(hostId, request), signal, deadline)
    } catch (error) {
      throw this.#told(hostId, error)
    }
  }

  /** One request, many answers. */
  async *stream<Q, R>(
    hostId: string,
    method: Method<Q, R>,
    request: Q,
    signal: AbortSignal
  ): AsyncGenerator<R> {
    try {
      yield* this.#connection(hostId).client.stream(method, request, signal)
    } catch (error) {
      throw this.#told(hostId, error)
    }
  }

  async *bidi<Q, R>(
    hostId: string,
    method: Method<Q, R>,
    requests: AsyncIterable<Q>,
    signal: AbortSignal
  ): AsyncGenerator<R> {
    this.#throwUnlessReady(hostId, method)
    try {
      yield* this.#connection(hostId).client.bidi(method, requests, signal)
    } catch (error) {
      throw this.#told(hostId, error)
    }
  }

  async upload<Q, R>(
    hostId: string,
    method: Method<Q, R>,
    requests: AsyncIterable<Q>,
    signal: AbortSignal,
    metadata?: Metadata
  ): Promise<R> {
    this.#throwUnlessReady(hostId, method)
    try {
      return await this.#connection(hostId).client.upload(method, requests, signal, null, metadata)
    } catch (error) {
      throw this.#told(hostId, error)
    }
  }

  /**
   * A connection that breaks ends the wait with HOST_UNREACHABLE, and the caller asks again with the same
   * request id; a task that its agent has lost is asked again here.
   */
  async runTask<Q, T>(
    hostId: string,
    method: Method<Q, T>,
    request: Q & { requestId: string },
    { signal, progress }: TaskOptions
  ): Promise<TaskResult> {
    const { clock } = this.#options
    const taskId = request.requestId
    // Followed before it is asked for: its news may come sooner than the answer.
    using reports = this.tasks.follow(hostId, taskId)
    try {
      for (;;) {
        const begun = (await this.call(hostId, method, request, signal)) as unknown as Task__Output
        const task = await this.#untilEnded(hostId, begun, reports, signal, progress)
        if (task.state !== 'TASK_STATE_LOST') return this.#resultOf(hostId, task)
        await sleep(clock, seconds(0.2), signal)
      }
    } catch (error) {
      if (signal.aborted) this.#askToStop(hostId, taskId)
      throw error
    }
  }

  async endTask(hostId: string, taskId: string, signal: AbortSignal): Promise<void> {
    using reports = this.tasks.follow(hostId, taskId)
    try {
      const task = await this.call(hostId, agentServices.task.CancelTask, { taskId }, signal)
      await this.#untilEnded(hostId, task, reports, signal)
    } catch (error) {
      if (!(error instanceof Fault && error.status === 'NOT_FOUND')) throw error
    }
  }

  async #untilEnded(
    hostId: string,
    begun: Task__Output,
    reports: Followed,
    signal: AbortSignal,
    progress?: TaskOptions['progress']
  ): Promise<Task__Output> {
    let task = begun
    for (;;) {
      if (task.progress) progress?.(progressOf(task.progress))
      if (hasEnded(task)) return task
      const news = await reports.next(within(askEvery, signal)).catch((error: unknown) => {
        if (signal.aborted || error instanceof Fault) throw error
        return null
      })
      task = news ?? (await this.call(hostId, agentServices.task.GetTask, { taskId: begun.taskId }, signal))
    }
  }

  #resultOf(hostId: string, { taskId, state, failure, result }: Task__Output): TaskResult {
    this.#acknowledgeLater(hostId, taskId)
    if (state === 'TASK_STATE_SUCCEEDED') return { ...result }
    if (state === 'TASK_STATE_CANCELLED') throw new Fault('CANCELLED', 'the task was cancelled')
    const reason = failure && isReason(failure.reason) ? failure.reason : 'INTERNAL'
    const facts = { ...failure?.facts, host: hostId }
    throw new Fault(reason, failure?.message ?? 'the task failed without a reason', { facts })
  }

  /** Well after the step is committed: an agent that forgot too early would do the work again. */
  #acknowledgeLater(hostId: string, taskId: string): void {
    const { clock, log } = this.#options
    const forget = clock.after(acknowledgeAfter, () => {
      this.#acknowledging.delete(forget)
      if (!this.isReady(hostId)) return
      this.call(
        hostId,
        agentServices.task.AcknowledgeTasks,
        { taskIds: [taskId] },
        new AbortController().signal
      ).catch((error: unknown) => log.debug({ err: error, host: hostId }, 'a task was not acknowledged'))
    })
    this.#acknowledging.add(forget)
  }

  #askToStop(hostId: string, taskId: string): void {
    const { log } = this.#options
    if (!this.isReady(hostId)) return
    const signal = new AbortController().signal
    this.call(hostId, agentServices.task.CancelTask, { taskId }, signal).catch((error: unknown) =>
      log.debug({ err: error, host: hostId }, 'a task was not asked to stop')
    )
  }

  #connection(hostId: string): Connection {
    const row = hostOrNull(this.#options.store.read, hostId)
    const known = this.#connections.get(hostId)
    if (!row || row.address === '') throw this.#unreachable(hostId)
    const own = this.#options.own()
    if (known && known.address === row.address) return known
    this.drop(hostId)
    const fresh = {
      client: this.#clientFor(hostId, row.address, own),
      address: row.address,
      own,
      isReady: false
    }
    this.#connections.set(hostId, fresh)
    return fresh
  }

  #clientFor(hostId: string, address: string, { trust, certificate, key }: Certificates): RpcClient {
    const { installationId, denies, clock } = this.#options
    const expect = (server: CertificateIdentity) => {
      const isMeant = server.role === 'HOST' && server.id === hostId && server.installation === installationId
      if (!isMeant || denies(server)) return false
      this.serials.set(hostId, server.serial)
      return true
    }
    return new RpcClient({ address, trust, identity: { certificate, key }, expect }, clock)
  }

  /** After a renewal: new calls use the new certificate, those under way end on the old connection. */
  useFreshCertificates(): void {
    const own = this.#options.own()
    for (const [hostId, { client, address, own: used, isReady }] of [...this.#connections]) {
      if (used === own) continue
      this.#connections.set(hostId, { client: this.#clientFor(hostId, address, own), address, own, isReady })
      client.close()
    }
  }

  /** Messages without these fields do without: unknown ones are not encoded. */
  #stamped<Q>(hostId: string, request: Q): Q {
    const { store, epoch, incarnation } = this.#options
    const hostGeneration = hostOrNull(store.read, hostId)?.generation ?? 0
    const ruler = { coordinatorEpoch: String(epoch()), coordinatorIncarnation: incarnation }
    return { hostGeneration: String(hostGeneration), ...request, ...ruler }
  }

  #told(hostId: string, error: unknown): unknown {
    if (!(error instanceof Fault)) return error
    const { reason, facts, violations } = error
    if (reason === 'STALE_COORDINATOR') this.#options.onStale(hostId, Number(facts['coordinatorEpoch'] ?? 0))
    const message =
      reason === 'HOST_UNREACHABLE' ? `host ${this.#nameOf(hostId)} does not answer` : error.message
    return new Fault(reason, message, { facts: { ...facts, host: hostId }, violations, cause: error })
  }

  #throwUnlessReady(hostId: string, { path }: { path: string }, request: unknown = {}): void {
    if (!this.isReady(hostId)) throw this.#unreachable(hostId)
    this.#contracts.throwIfUnheard(hostId, this.#nameOf(hostId), path, request as object)
  }

  #nameOf(hostId: string): string {
    return hostOrNull(this.#options.store.read, hostId)?.name ?? hostId
  }

  #unreachable(hostId: string): Fault {
    const name = this.#nameOf(hostId)
    return new Fault('HOST_UNREACHABLE', `host ${name} is not connected`, { facts: { host: hostId } })
  }
}

const endStates: ReadonlySet<string> = new Set([
  'TASK_STATE_SUCCEEDED',
  'TASK_STATE_FAILED',
  'TASK_STATE_CANCELLED',
  'TASK_STATE_LOST'
])
export const hasEnded = ({ state }: Pick<Task__Output, 'state'>) => endStates.has(state)

function progressOf({ percent, doneBytes, totalBytes, phase }: NonNullable<Task__Output['progress']>) {
  return { percent, doneBytes: Number(doneBytes), totalBytes: Number(totalBytes), phase }
}
