import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { systemClock } from '../../common/clock.js'
import { commandRunner } from '../../common/run.js'
import { seconds } from '../../common/units.js'
import { Sanlock } from '../../storage/sanlock.js'
import { WorkerService } from '../../storage/worker-service.js'
import { root as checkout } from '../root.js'

// A storage domain that oVirt made, taken over where it lies; and one that we make, as oVirt would have made it.

const execute = promisify(execFile)
const never = new AbortController().signal
const data = `${checkout}/test/vectors/data/domains/`
const ours = '11111111-2222-4333-8444-555555555555'

type Entry = { path: string; type: string; size?: number; nlink?: number }
type Expected = {
  domain: string
  pool: string
  remotePath: string
  images: Record<'chainOfThree' | 'template' | 'clone' | 'preallocated', { image: string; volumes: string[] }>
  tree: Entry[]
  freshTree: Entry[]
  externalLeases: Record<string, { offset: number }>
}
const expected: Expected = JSON.parse(await readFile(`${data}file-domain.json`, 'utf8'))

async function service(t: Test, isAdopted: boolean) {
  const root = await mkdtemp('/tmp/drover-adopt-')
  t.teardown(() => rm(root, { recursive: true, force: true }))
  const mount = `${root}/mount`
  await mkdir(mount)
  if (isAdopted) await execute('tar', ['--numeric-owner', '-xzSf', `${data}file-domain.tar.gz`, '-C', mount])
  const log = pino({ level: 'silent' })
  const run = commandRunner(log)
  const direct = { mode: 'direct' as const, runDirectory: null }
  const sanlock = new Sanlock(direct, run, systemClock)
  const runDirectory = `${root}/run`
  const tools = { run, sanlock, clock: systemClock, log, owner: null, runDirectory }
  const settings = { storageDomainId: expected.domain, mount, runDirectory, importDirectory: null }
  const worker = new WorkerService({ ...settings, owner: null, sanlock: direct, logLevel: 'silent' }, tools, {
    onReport: () => {},
    onManagerWanted: () => {}
  })
  t.teardown(() => worker.stop())
  return { ask: worker.handlers, mount, directory: `${mount}/${expected.domain}` }
}

async function digest(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

t.test('a storage domain is found, and everything in it', async t => {
  const { ask, mount } = await service(t, true)
  const [found] = await ask.discover({ mount }, never)
  t.match(found, { storageDomainId: expected.domain, version: 5, kind: 'nfs', poolIds: [expected.pool] })
  const volumes = await ask.listVolumes({ imageId: null }, never)
  const wanted = Object.values(expected.images).flatMap(image => image.volumes)
  t.same(new Set(volumes.map(({ volumeId }) => volumeId)), new Set(wanted.slice(0, volumes.length)))
})

t.test('another data center does not get it', async t => {
  const { ask } = await service(t, true)
  await t.rejects(ask.attach({ dataCenterId: ours }, never), /belongs to data center/)
})

t.test('handed back by its owner it is adopted in place: two lines change, no data', async t => {
  const { ask, directory } = await service(t, true)
  const files = expected.tree.filter(({ type, path }) => type === 'file' && path !== 'dom_md/metadata')
  const before = await Promise.all(files.map(({ path }) => digest(`${directory}/${path}`)))
  const lines = async () => (await readFile(`${directory}/dom_md/metadata`, 'utf8')).split('\n')
  const old = await lines()
  await ask.detach({}, never)
  await ask.attach({ dataCenterId: ours }, never)
  const changed = (await lines()).filter(line => !old.includes(line)).map(line => line.split('=')[0])
  t.same(
    changed.filter(key => key !== 'ROLE'),
    ['POOL_UUID', '_SHA_CKSUM']
  )
  t.same(await Promise.all(files.map(({ path }) => digest(`${directory}/${path}`))), before)
})

t.test('what oVirt left half done is finished or named, and the rest can be used', async t => {
  const { ask, directory } = await service(t, true)
  await ask.detach({}, never)
  await ask.attach({ dataCenterId: ours }, never)
  const { done, reported } = await ask.activate({ sanlockHostId: 1 }, never)
  const { chainOfThree, template, clone } = expected.images
  t.match(done.join(), /removed for good/, 'the deleted image is purged')
  t.match(reported.join(), new RegExp(chainOfThree.volumes[2] ?? '-'), 'the illegal leaf is named')

  const [leaf = ''] = clone.volumes
  const chain = await ask.prepare({ imageId: clone.image, volumeId: leaf }, never)
  t.same(
    chain.map(({ volumeId }) => volumeId),
    [leaf, template.volumes[0]]
  )
  const illegal = { imageId: chainOfThree.image, volumeId: chainOfThree.volumes[2] ?? '' }
  await t.rejects(ask.prepare(illegal, never), /is illegal/)
  const users = ask.removeImage({ imageId: template.image, wipe: false }, never)
  await t.rejects(users, /is a template/, 'a template with derived images stays')

  const leases = await ask.listLeases({}, never)
  t.same(new Set(leases.map(({ leaseId }) => leaseId)), new Set(Object.keys(expected.externalLeases)))
  const findings = await ask.audit({ intents: [] }, never)
  t.same(
    findings.map(({ invariant, object }) => `${invariant} ${object}`),
    [`I6 ${illegal.volumeId}`],
    JSON.stringify(findings)
  )
  t.equal((await lstat(`${directory}/images/${template.image}/${template.volumes[0]}`)).nlink, 2)
})

t.test('a new storage domain has the files and sizes that oVirt gives one', async t => {
  const { ask, mount, directory } = await service(t, false)
  const rest = { kind: 'nfs' as const, remotePath: expected.remotePath, description: 'x', dataCenterId: null }
  const request = {
    storageDomainId: expected.domain,
    mount,
    ...rest,
    ioTimeout: seconds(10),
    sectorSize: null
  }
  await ask.createStorageDomain(request, never)
  for (const { path, type, size } of expected.freshTree) {
    const stats = await lstat(`${directory}/${path}`)
    t.equal(stats.isDirectory(), type === 'dir', path)
    if (type === 'file' && !path.endsWith('/metadata')) t.equal(stats.size, size, `size of ${path}`)
  }
  const { stdout } = await execute('find', [directory, '-mindepth', '1'])
  t.equal(stdout.trim().split('\n').length, expected.freshTree.length, 'and nothing else')
})
