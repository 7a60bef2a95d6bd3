import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { pino } from 'pino'
import type { Test } from 'tap'
import { Ledger } from '../../../agent/ledger.js'
import { Requests } from '../../../agent/requests.js'
import { storageService } from '../../../agent/services/storage.js'
import { setUpStorage } from '../../../agent/storage-setup.js'
import { lockLevels, Tasks } from '../../../agent/tasks.js'
import { RpcClient, type Method } from '../../../common/client.js'
import { systemClock } from '../../../common/clock.js'
import { Locks } from '../../../common/locks.js'
import { commandRunner } from '../../../common/run.js'
import { RpcServer } from '../../../common/server.js'
import { seconds } from '../../../common/units.js'
import type { Task__Output as Task } from '../../../proto/generated/types/drover/agent/v1/Task.js'
import { agentServices, descriptorSet, standardServices } from '../../../proto/load.js'

const never = new AbortController().signal
const log = pino({ level: 'silent' })

export const ids = {
  storageDomain: '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b74',
  dataCenter: '11111111-2222-4333-8444-555555555555'
}

type Methods = typeof agentServices.storage

/** The storage service of an agent, with real workers, called over its unix socket as the local administrator. */
export async function serviceWorld(t: Test) {
  const root = await mkdtemp('/tmp/drover-service-')
  await Promise.all(['mount', 'import', 'state', 'run'].map(name => mkdir(`${root}/${name}`)))
  const run = commandRunner(log)
  const parts = setUpStorage({
    stateDirectory: `${root}/state`,
    runDirectory: `${root}/run`,
    importDirectory: `${root}/import`,
    allowedDirectories: [root],
    logLevel: 'error',
    sanlock: { mode: 'direct', runDirectory: null },
    ...{ run, clock: systemClock, log, onChange: () => {} }
  })
  const ledger = await Ledger.open(`${root}/state/ledger`, systemClock, log)
  const locks = new Locks(lockLevels)
  const tasks = new Tasks({ ledger, rememberEpoch: async () => {}, locks, clock: systemClock, log })
  const server = new RpcServer({
    contract: { descriptorSet, standardServices },
    trust: { installation: () => null, denies: () => false },
    ...{ log, clock: systemClock }
  })
  const requests = new Requests(ledger, async () => {})
  const manager = { prefer: () => {} }
  server
    .add(agentServices.storage, storageService({ ...parts, tasks, requests, manager, intents: () => [] }))
    .addStandard()
  await server.listenUnix(`${root}/agent.sock`)
  const client = new RpcClient({ unixPath: `${root}/agent.sock` }, systemClock)
  await parts.storage.restore()
  t.teardown(async () => {
    client.close()
    await server.stop(seconds(0.1))
    await parts.storage.stop()
    await ledger.close()
    await rm(root, { recursive: true, force: true })
  })

  /** A call as it comes over the wire. */
  const call = <M extends keyof Methods>(method: M, request: object): Promise<Answer<M>> =>
    client.call(
      agentServices.storage[method] as unknown as Method<object, Answer<M>>,
      request,
      never,
      seconds(60)
    )

  /** A mutation, waited for to its end. */
  const mutate = async <M extends keyof Methods>(method: M, request: object): Promise<Task> => {
    const stamp = { requestId: randomUUID(), coordinatorEpoch: '0', hostGeneration: '0' }
    const sent = { ...stamp, storageDomainId: ids.storageDomain, ...request }
    const first = (await call(method, sent)) as unknown as Task
    for (;;) {
      const task = tasks.get(first.taskId)
      if (task.state === 'succeeded') return { ...first, result: task.result }
      if (task.fault && task.state !== 'running' && task.state !== 'queued') throw task.fault
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const withStorageDomain = async () => {
    const connection = { posix: { path: `${root}/mount` } }
    const rest = { description: 'service', dataCenterId: ids.dataCenter, ioTimeoutSeconds: 1 }
    await mutate('CreateStorageDomain', { connection, ...rest })
    await mutate('ActivateStorageDomain', { sanlockHostId: 1 })
  }
  return { root, call, mutate, client, tasks, parts, withStorageDomain }
}

type Answer<M extends keyof Methods> = Methods[M] extends { responseDeserialize: (bytes: Buffer) => infer R }
  ? R
  : never
