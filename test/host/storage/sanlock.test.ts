import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t from 'tap'
import { DataPrograms } from '../../../agent/data-programs.js'
import { StorageWorkers } from '../../../agent/storage-workers.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { commandRunner } from '../../../common/run.js'
import { MiB, seconds } from '../../../common/units.js'
import { resourceText, Sanlock } from '../../../storage/sanlock.js'
import { PrivateSanlock } from './private-sanlock.js'

// Two hosts on one directory, each with a real sanlock daemon and a real storage worker; io timeout 1 s.

const log = pino({ level: 'silent' })
const run = commandRunner(log)
const never = new AbortController().signal
const id = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b71'
const vmId = 'eeeeeeee-1111-4222-8333-444444444444'

const daemons = await PrivateSanlock.create()
const root = await mkdtemp('/tmp/drover-sanlock-test-')
const mount = `${root}/mount`
await mkdir(mount)

function host(name: string) {
  const sanlock = { mode: 'daemon' as const, runDirectory: daemons.runDirectory(name) }
  const settings = {
    runDirectory: `${root}/${name}`,
    importDirectory: null,
    owner: null,
    sanlock,
    logLevel: 'error'
  }
  const workers = new StorageWorkers({ settings, clock: systemClock, log })
  return { workers, sanlock: new Sanlock(sanlock, run, systemClock) }
}

await Promise.all([daemons.start('host1'), daemons.start('host2')])
const [one, two] = [host('host1'), host('host2')]
t.teardown(async () => {
  await Promise.all([one.workers.stopAll(), two.workers.stopAll()])
  await daemons.end()
  await rm(root, { recursive: true, force: true })
})

const volume = (number: number) => ({
  imageId: `0f1e2d3c-4b5a-4697-8877-6655443322${String(number).padStart(2, '0')}`,
  volumeId: `aaaaaaaa-1111-4222-8333-4444444444${String(number).padStart(2, '0')}`,
  ...{ parent: null, capacity: MiB(1), format: 'raw' as const, allocation: 'thin' as const },
  ...{ diskContent: 'DATA', description: '', legal: true }
})

t.test('two hosts join the lockspace of a new storage domain and see each other live', async t => {
  one.workers.start(id, { mount })
  two.workers.start(id, { mount })
  const rest = { kind: 'posix' as const, remotePath: mount, description: 'two hosts', sectorSize: null }
  const dataCenterId = '11111111-2222-4333-8444-555555555555'
  const request = { storageDomainId: id, mount, ...rest, dataCenterId, ioTimeout: seconds(1) }
  await one.workers.ask(id, 'createStorageDomain', request, never)
  await Promise.all([
    one.workers.ask(id, 'activate', { sanlockHostId: 1 }, never),
    two.workers.ask(id, 'activate', { sanlockHostId: 2 }, never)
  ])
  const seen = async () => {
    const hosts = await one.workers.ask(id, 'hosts', {}, never)
    return hosts.find(({ sanlockHostId }) => sanlockHostId === 2)
  }
  while ((await seen())?.state !== 'live') await new Promise(resolve => setTimeout(resolve, 200))
  t.match(await seen(), { hostName: 'host2', generation: 1, state: 'live' })
})

t.test('a storage domain that hosts use cannot be given to another data center', async t => {
  const work = one.workers.ask(id, 'attach', { dataCenterId: '99999999-2222-4333-8444-555555555555' }, never)
  await t.rejects(work, /belongs to data center/)
})

t.test('both hosts create volumes at once, one of them at a time', async t => {
  const numbers = Array.from({ length: 12 }, (_, i) => i)
  await Promise.all(
    numbers.map(number => (number % 2 ? one : two).workers.ask(id, 'createVolume', volume(number), never))
  )
  t.equal((await two.workers.ask(id, 'listVolumes', { imageId: null }, never)).length, 12)
  t.same(await one.workers.ask(id, 'audit', { intents: [] }, never), [])
})

t.test('a lease is waited for until its holder is gone', async t => {
  await one.workers.ask(id, 'createLease', { leaseId: vmId }, never)
  const resource = await two.workers.ask(id, 'leaseResource', { leaseId: vmId }, never)
  const [program = '', ...args] = one.sanlock.holding(resource)
  const holder = spawn(program, [...args, '/bin/sleep', '600'], { stdio: 'ignore' })
  t.teardown(() => holder.kill('SIGKILL'))
  const owner = async () => (await two.workers.ask(id, 'listLeases', {}, never))[0]?.owner ?? null
  while ((await owner()) === null) await new Promise(resolve => setTimeout(resolve, 50))
  t.match(await owner(), { sanlockHostId: 1 })

  const soon = AbortSignal.timeout(1500)
  await t.rejects(two.sanlock.await(resource, soon), 'it is held')
  const waiting = two.sanlock.await(resource, AbortSignal.timeout(30_000))
  holder.kill('SIGKILL')
  await t.resolves(waiting, 'it is free')
})

t.test(
  'a program that writes a volume holds its lease: a second one is refused, and may come again',
  async t => {
    const programs = new DataPrograms({
      directory: `${root}/tasks`,
      run,
      clock: systemClock,
      log,
      asUnits: false
    })
    const source = await two.workers.ask(id, 'copySource', volume(0), never)
    const place = { imageId: volume(50).imageId, volumeId: volume(50).volumeId }
    const target = {
      ...place,
      format: 'qcow2' as const,
      allocation: 'thin' as const,
      shared: false,
      description: ''
    }
    const begin = () => two.workers.ask(id, 'copyBegin', { ...target, source }, never)
    const program = await begin()
    if (program === null) throw new Error('there is nothing to copy')

    const lease = `${mount}/${id}/images/${place.imageId}/${place.volumeId}.lease`
    const resource = { lockspace: id, name: place.volumeId, path: lease, offset: MiB(0) }
    const [first = '', ...args] = one.sanlock.holding(resource)
    const holder = spawn(first, [...args, '/bin/sleep', '600'], { stdio: 'ignore' })
    t.teardown(() => holder.kill('SIGKILL'))
    while ((await one.sanlock.owner(resource, never)) === null)
      await new Promise(resolve => setTimeout(resolve, 50))
    const refused: unknown = await programs
      .run('copy', program, () => {}, never)
      .catch((error: unknown) => error)
    t.ok(Fault.is(refused, 'LEASE_HELD'), String(refused))

    holder.kill('SIGKILL')
    while ((await one.sanlock.owner(resource, never)) !== null)
      await new Promise(resolve => setTimeout(resolve, 50))
    const again = await begin()
    if (again === null) throw new Error('the copy is taken for done')
    await programs.run('copy', again, () => {}, never)
    t.match(await two.workers.ask(id, 'copyFinish', target, never), { legality: 'legal', generation: 1 })
    t.equal(await one.sanlock.owner(resource, never), null, 'the lease went with the program')
  }
)

t.test('the leases of a dead host are cleared on proof, and only on proof', async t => {
  const resource = await two.workers.ask(id, 'leaseResource', { leaseId: vmId }, never)
  const [program = '', ...args] = one.sanlock.holding(resource)
  const holder = spawn(program, [...args, '/bin/sleep', '600'], { stdio: 'ignore' })
  const owner = async () => (await two.workers.ask(id, 'listLeases', {}, never))[0]?.owner ?? null
  while ((await owner()) === null) await new Promise(resolve => setTimeout(resolve, 50))

  daemons.kill('host1')
  holder.kill('SIGKILL')
  await one.workers.stopAll()
  const record = async () => (await two.workers.ask(id, 'hosts', {}, never)).find(h => h.sanlockHostId === 1)
  const still = async () => {
    const before = await record()
    await new Promise(resolve => setTimeout(resolve, 6000))
    const after = await record()
    return before?.timestamp === after?.timestamp ? after : null
  }
  let dead = await still()
  while (!dead) dead = await still()

  const proof = {
    sanlockHostId: 1,
    hostName: 'host1',
    generation: 1,
    timestamp: dead.timestamp,
    proofId: vmId
  }
  const clear = (change: object) => two.workers.ask(id, 'clearHostLease', { ...proof, ...change }, never)
  await t.rejects(clear({ generation: 2 }), /generation/, 'another life')
  await t.rejects(clear({ hostName: 'host9' }), /belongs to host/, 'another host')
  await t.rejects(clear({ timestamp: dead.timestamp - 1 }), /renewed/, 'renewed after it was seen off')
  await t.rejects(clear({ sanlockHostId: 2 }), Fault, 'our own')

  const began = Date.now()
  await clear({})
  await two.sanlock.await(resource, AbortSignal.timeout(20_000))
  t.ok(Date.now() - began < 20_000, 'free long before the 68 s of an expired lease')
  t.match(await run('sanlock', ['direct', 'read_leader', '-r', resourceText(resource)], never), {
    stdout: /owner_id 2/
  })
})

t.test('a host that leaves gives its id back', async t => {
  await two.workers.ask(id, 'deactivate', {}, never)
  const dump = await run(
    'sanlock',
    ['direct', 'read_leader', '-s', `${id}:2:${mount}/${id}/dom_md/ids:0`],
    never
  )
  t.match(dump.stdout, /timestamp 0/)
})
