import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { StorageWorkers } from '../../agent/storage-workers.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { MiB, seconds } from '../../common/units.js'

const never = new AbortController().signal
const id = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b75'

async function world(t: Test) {
  const root = await mkdtemp('/tmp/drover-workers-')
  await mkdir(`${root}/mount`)
  let restarted = () => {}
  const restart = new Promise<void>(resolve => (restarted = resolve))
  const workers = new StorageWorkers({
    settings: {
      runDirectory: `${root}/run`,
      importDirectory: null,
      owner: null,
      sanlock: { mode: 'direct', runDirectory: null },
      logLevel: 'silent'
    },
    clock: systemClock,
    log: pino({ level: 'silent' }),
    onRestart: () => restarted()
  })
  t.teardown(async () => {
    await workers.stopAll()
    await rm(root, { recursive: true, force: true })
  })
  const rest = {
    kind: 'local' as const,
    remotePath: '/x',
    description: 'w',
    dataCenterId: id,
    sectorSize: null
  }
  const create = { storageDomainId: id, mount: `${root}/mount`, ...rest, ioTimeout: seconds(1) }
  return { workers, mount: `${root}/mount`, create, restart }
}

t.test('a worker that dies fails what it was doing as interrupted, and runs again', async t => {
  const { workers, mount, create, restart } = await world(t)
  workers.start(id, { mount })
  await workers.ask(id, 'createStorageDomain', create, never)
  const volume = { imageId: id, volumeId: id, parent: null, capacity: MiB(64), format: 'raw' as const }
  const rest = { allocation: 'preallocated' as const, diskContent: 'DATA', description: '', legal: true }
  const running = workers.ask(id, 'createVolume', { ...volume, ...rest }, never)
  const pid = workers.pid(id)
  if (pid === undefined) throw new Error('the worker has no process')
  process.kill(pid, 'SIGKILL')
  await t.rejects(running, new Fault('INTERRUPTED', `the storage worker of ${id} ended during createVolume`))
  await restart
  t.match(await workers.ask(id, 'describe', {}, never), { metadata: { storageDomainId: id } })
  t.match(workers.health(id), { isRunning: true, restarts: 1 })
})

t.test('a storage domain that is not connected is not found', async t => {
  const { workers } = await world(t)
  await t.rejects(workers.ask(id, 'describe', {}, never), /is not connected to this host/)
})

t.test('the same storage domain by another way is refused', async t => {
  const { workers, mount } = await world(t)
  workers.start(id, { mount })
  t.throws(() => workers.start(id, { mount: '/elsewhere' }), /is connected by another way/)
})

t.test('a fault keeps its reason and its facts on the way out of the worker', async t => {
  const { workers, mount } = await world(t)
  workers.start(id, { mount })
  const error: unknown = await workers.ask(id, 'describe', {}, never).catch((error: unknown) => error)
  t.ok(Fault.is(error, 'NOT_FOUND'), String(error))
})

t.test('an active storage domain reports by itself: latency, space, host id', async t => {
  const { workers, mount, create } = await world(t)
  workers.start(id, { mount })
  await workers.ask(id, 'createStorageDomain', create, never)
  await workers.ask(id, 'activate', { sanlockHostId: 1 }, never)
  while (workers.health(id)?.report == null) await new Promise(setImmediate)
  const { report } = workers.health(id) ?? {}
  t.match(report, { problem: null, hostIdHeld: true })
  t.ok((report?.total ?? 0) > 0 && (report?.latency ?? -1) >= 0)
})
