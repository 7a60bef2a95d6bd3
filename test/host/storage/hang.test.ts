import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { pino } from 'pino'
import t from 'tap'
import { StorageWorkers } from '../../../agent/storage-workers.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { MiB, seconds } from '../../../common/units.js'

// A real file system that hangs: everybody who writes to it sleeps in the kernel and cannot be killed.

const execute = promisify(execFile)
const never = new AbortController().signal
const hanging = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b72'
const healthy = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b73'

const root = await mkdtemp('/tmp/drover-hang-')
const [frozen, fine] = [`${root}/frozen`, `${root}/fine`]
await Promise.all([mkdir(frozen), mkdir(fine)])
await execute('truncate', ['-s', '256M', `${root}/disk`])
await execute('mkfs.ext4', ['-q', `${root}/disk`])
await execute('mount', ['-o', 'loop', `${root}/disk`, frozen])

const workers = new StorageWorkers({
  settings: {
    runDirectory: `${root}/run`,
    importDirectory: null,
    owner: null,
    sanlock: { mode: 'direct', runDirectory: null },
    logLevel: 'fatal'
  },
  clock: systemClock,
  log: pino({ level: 'silent' })
})
const thaw = () => execute('fsfreeze', ['-u', frozen]).catch(() => {})
t.teardown(async () => {
  await thaw()
  await workers.stopAll()
  await execute('umount', ['-l', frozen])
  await rm(root, { recursive: true, force: true })
})

const wait = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
const volume = (number: number) => ({
  imageId: `0f1e2d3c-4b5a-4697-8877-6655443322${String(number).padStart(2, '0')}`,
  volumeId: `aaaaaaaa-1111-4222-8333-4444444444${String(number).padStart(2, '0')}`,
  ...{ parent: null, capacity: MiB(1), format: 'raw' as const, allocation: 'thin' as const },
  ...{ diskContent: 'DATA', description: '', legal: true }
})

t.test('a storage domain that hangs for a minute hangs nothing else', { timeout: 150_000 }, async t => {
  for (const [id, mount] of [
    [hanging, frozen],
    [healthy, fine]
  ] as const) {
    workers.start(id, { mount })
    const rest = { kind: 'local' as const, remotePath: mount, description: 'hang', sectorSize: null }
    const dataCenterId = '11111111-2222-4333-8444-555555555555'
    const request = { storageDomainId: id, mount, ...rest, dataCenterId, ioTimeout: seconds(1) }
    await workers.ask(id, 'createStorageDomain', request, never)
    await workers.ask(id, 'activate', { sanlockHostId: 1 }, never)
  }

  await execute('fsfreeze', ['-f', frozen])
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  const began = performance.now()
  const late = Array.from({ length: 8 }, (_, number) =>
    workers.ask(hanging, 'createVolume', volume(number), AbortSignal.timeout(1000))
  )
  for (const outcome of await Promise.allSettled(late))
    t.equal(outcome.status, 'rejected', 'the caller is told')
  t.equal(workers.isResponsive(hanging), false, 'it is unresponsive')
  const refused = workers.ask(hanging, 'createVolume', volume(20), never)
  await t.rejects(
    refused,
    new Fault(
      'STORAGE_DOMAIN_UNRESPONSIVE',
      `storage domain ${hanging} does not answer: 8 operations have not ended`
    )
  )

  let slowest = 0
  for (let number = 0; performance.now() - began < 60_000; number = (number + 1) % 90) {
    const asked = performance.now()
    await workers.ask(healthy, 'createVolume', volume(number), never)
    await workers.ask(healthy, 'removeImage', { imageId: volume(number).imageId, wipe: false }, never)
    slowest = Math.max(slowest, performance.now() - asked)
    await wait(500)
  }
  delay.disable()
  t.ok(slowest < 5000, `the other storage domain went on: ${Math.round(slowest)} ms at most`)
  t.ok(delay.max / 1e6 < 1000, `the event loop was never blocked: ${Math.round(delay.max / 1e6)} ms`)

  await thaw()
  while (!workers.isResponsive(hanging)) await wait(100)
  await workers.ask(hanging, 'sweep', {}, never)
  t.same(await workers.ask(hanging, 'audit', { intents: [] }, never), [], 'whole when it is back')
})

t.test(
  'a worker that hangs in the kernel is left behind, and its stop ends',
  { timeout: 60_000 },
  async t => {
    await execute('fsfreeze', ['-f', frozen])
    const stuck = workers.ask(hanging, 'createVolume', volume(30), never)
    stuck.catch(() => {})
    await wait(500)
    const began = performance.now()
    await workers.stop(hanging)
    t.ok(performance.now() - began < 15_000, `${Math.round(performance.now() - began)} ms`)
    await thaw()
    await t.rejects(stuck, /ended during createVolume/)
  }
)
