import { Client, credentials, Metadata, type ChannelCredentials, type ServiceError } from '@grpc/grpc-js'
import { randomUUID } from 'node:crypto'
import { readRichStatus } from '../../../common/rich-status.js'
import { agentServices } from '../../../proto/load.js'

type Services = typeof agentServices
type Method = {
  path: string
  requestSerialize: (value: object) => Buffer
  responseDeserialize: (bytes: Buffer) => object
}
export type Answer = Record<string, any> // eslint-disable-line @typescript-eslint/no-explicit-any

/** What a refused call says: the gRPC code, the reason, and the fields that were wrong. */
export class Refused extends Error {
  readonly code: number
  readonly reason: string
  readonly fields: string[]

  constructor(error: ServiceError) {
    super(error.details)
    const [details] = error.metadata.get('grpc-status-details-bin')
    const read = Buffer.isBuffer(details) ? readRichStatus(details) : { reason: '', details: [] }
    this.code = error.code
    this.reason = read.reason
    const wrong = read.details.flatMap(detail => (detail as Answer)['fieldViolations'] ?? [])
    this.fields = wrong.map(({ field }: { field: string }) => field)
  }
}

/** A client of an agent, by service and method name. */
export class AgentClient {
  readonly #client: Client

  constructor(address: string, secure: ChannelCredentials = credentials.createInsecure()) {
    this.#client = new Client(address, secure, {
      'grpc.max_receive_message_length': 16 * 2 ** 20,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 200
    })
  }

  call<S extends keyof Services>(
    service: S,
    name: string,
    request: object = {},
    seconds = 60
  ): Promise<Answer> {
    const method = methodOf(service, name)
    return new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + seconds * 1000)
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        // After a restart of the agent the connection takes a moment.
        new Metadata({ waitForReady: true }),
        { deadline },
        (error, answer) => (error ? reject(new Refused(error)) : resolve(answer as Answer))
      )
    })
  }

  /** A mutation of the local administrator, with a request id of its own unless one is given. */
  mutate(service: keyof Services, name: string, request: object): Promise<Answer> {
    return this.call(service, name, { requestId: randomUUID(), ...request })
  }

  /** A mutation that is a task, until it has ended. */
  async task(service: keyof Services, name: string, request: object): Promise<Answer> {
    let task = await this.mutate(service, name, request)
    while (['TASK_STATE_QUEUED', 'TASK_STATE_RUNNING'].includes(task['state'])) {
      await new Promise(resolve => setTimeout(resolve, 50))
      task = await this.call('task', 'GetTask', { taskId: task['taskId'] })
    }
    return task
  }

  stream(service: keyof Services, name: string, request: object) {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, name)
    return this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request)
  }

  upload(ended: (error: ServiceError | null, answer?: Answer) => void) {
    const { path, requestSerialize, responseDeserialize } = methodOf('storage', 'UploadImage')
    return this.#client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      new Metadata(),
      (error, answer) => ended(error, answer as Answer)
    )
  }

  bidi(service: keyof Services, name: string) {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, name)
    return this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
  }

  close(): void {
    this.#client.close()
  }
}

const methodOf = (service: keyof Services, name: string) =>
  (agentServices[service] as unknown as Record<string, Method>)[name]!
