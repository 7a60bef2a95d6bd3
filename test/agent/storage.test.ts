import { setImmediate } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import type { StorageConnections } from '../../agent/storage-connections.js'
import type { StorageWorkers } from '../../agent/storage-workers.js'
import { Storage } from '../../agent/storage.js'
import { systemClock } from '../../common/clock.js'
import { bytes } from '../../common/units.js'
import type { MonitorReport } from '../../storage/verbs.js'

const id = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b72'
const connection = { kind: 'posix', path: '/shared' } as const
const never = new AbortController().signal

/** One storage domain that is active here, and what its worker is asked for. */
function world() {
  const asked: string[] = []
  let answer: (verb: string) => Promise<void> = async () => {}
  const attached = new Map<string, { connection: typeof connection; sanlockHostId: number | null }>()
  attached.set(id, { connection, sanlockHostId: 3 })
  const workers = {
    start: () => {},
    health: () => null,
    isResponsive: () => true,
    forgetReport: () => {},
    stopAll: async () => {},
    ask: async (_: string, verb: string) => {
      asked.push(verb)
      await answer(verb)
      return {}
    }
  }
  const connections = {
    attached,
    throwIfForbidden: () => {},
    connect: async () => ({ mount: '/shared' }),
    remember: async (id: string, now: { sanlockHostId: number | null }) =>
      void attached.set(id, { connection, ...now })
  }
  const storage = new Storage({
    workers: workers as unknown as StorageWorkers,
    connections: connections as unknown as StorageConnections,
    block: { throwIfTaken: async () => {}, rescan: async () => {} },
    runDirectory: '/run',
    clock: systemClock,
    log: pino({ level: 'silent' }),
    onChange: () => {}
  })
  return { storage, asked, answers: (how: typeof answer) => (answer = how) }
}

function later(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>(done => (resolve = done))
  return { promise, resolve }
}

const report = (hostIdHeld: boolean, problem: string | null = null): MonitorReport => ({
  ...{ latency: null, problem, total: bytes(0), free: bytes(0), metadataPercent: 0, hostIdHeld, hosts: [] },
  isManager: false
})

t.test(
  'a host that lost its storage for so long that its leases were taken joins again when it can',
  async t => {
    const { storage, asked, answers } = world()
    const { promise: joined, resolve: join } = later()
    answers(verb => (verb === 'activate' ? joined : Promise.resolve()))
    storage.onReport(id, report(true))
    storage.onReport(id, report(false, 'EIO'))
    await setImmediate()
    t.strictSame(asked, [], 'not while it cannot be read')

    storage.onReport(id, report(false))
    storage.onReport(id, report(false))
    await setImmediate()
    t.strictSame(asked, ['describe', 'activate'], 'once, however often it is reported')
    t.equal(storage.state(id).health, 'activating')

    join()
    await setImmediate()
    storage.onReport(id, report(true))
    await setImmediate()
    t.equal(asked.length, 2)
  }
)

t.test('a host that leaves is not drawn back by what was seen meanwhile', async t => {
  const { storage, asked, answers } = world()
  const { promise: left, resolve: leave } = later()
  answers(() => left)
  const leaving = storage.deactivate(id, never)
  storage.onReport(id, report(false))
  leave()
  await leaving
  storage.onReport(id, report(false))
  await setImmediate()
  t.strictSame(asked, ['deactivate'])
})
