import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { seconds } from '../../../common/units.js'
import { hasDeviceMapper } from '../../../storage/activator.js'
import { readVolumeTags } from '../../../storage/format/block-tags.js'
import { readBlockStorageDomain } from '../../../storage/format-kinds/block-archive.js'
import { never } from '../../storage/crash/world.js'
import { attachLoop, blockWorldAt, newBlockWorld, removeBlockWorld, skipped } from './block-world.js'
import { root as checkout } from '../../root.js'

// A block storage domain that oVirt made, taken over where it lies; and one of ours, as oVirt would have made it.

const execute = promisify(execFile)
const data = `${checkout}/test/vectors/data/domains/`
const ours = '11111111-2222-4333-8444-555555555555'

type Slot = { slot: number; image: string; parentTag: string }
type Expected = {
  domain: string
  pool: string
  ids: Record<'chainOfThree' | 'template' | 'clone', [string, string[]]>
  volumes: Record<string, { imgs: string[] }>
  slots: Record<string, Slot>
  externalLeases: Record<string, object>
  fresh: { vgs: string[]; lvs: string[] }
}
const expected: Expected = JSON.parse(await readFile(`${data}block-domain.json`, 'utf8'))

async function adopted(t: Test) {
  const root = await mkdtemp('/dev/shm/drover-block-adopt-')
  await mkdir(`${root}/import`)
  await execute('tar', ['--numeric-owner', '-xzSf', `${data}block-domain-pvs.tar.gz`, '-C', root])
  const devices = [await attachLoop(`${root}/pv0.img`), await attachLoop(`${root}/pv1.img`)]
  const world = blockWorldAt(root, devices, expected.domain)
  t.teardown(() => removeBlockWorld(world))
  return { ...world, ask: world.ask }
}

t.test('a storage domain is found on its devices, and everything in it', { skip: skipped }, async t => {
  const { ask, devices } = await adopted(t)
  const [found] = await ask.discoverOnDevices({ devices }, never)
  t.match(found, { storageDomainId: expected.domain, version: 5, kind: 'iscsi', poolIds: [expected.pool] })
  t.strictSame(new Set(found?.devices), new Set(devices))
  t.strictSame(
    await ask.discoverOnDevices({ devices: devices.slice(0, 1) }, never),
    [],
    'not with a part of it'
  )
  const volumes = await ask.listVolumes({ imageId: null }, never)
  const ids = new Set(volumes.map(({ volumeId }) => volumeId))
  t.strictSame(ids, new Set(Object.keys(expected.volumes)))
  await t.rejects(ask.attach({ dataCenterId: ours }, never), /belongs to data center/)
})

t.test(
  'what oVirt left half done is finished or named, and the rest can be used',
  { skip: skipped },
  async t => {
    const world = await adopted(t)
    const { ask } = world
    await ask.detach({}, never)
    await ask.attach({ dataCenterId: ours }, never)
    const { done, reported } = await ask.activate({ sanlockHostId: 1 }, never)
    t.equal(done.filter(text => /removed for good/.test(text)).length, 2, 'both deleted images are purged')
    t.equal(done.filter(text => /unfinished creation/.test(text)).length, 1, 'the half-made volume is gone')
    t.equal(done.filter(text => /tag of its parent/.test(text)).length, 1, 'a live merge reaches its tag')
    t.match(reported.join(), /not in the chain/, 'what the merge left is named')

    const [image, [leaf = '']] = expected.ids.clone
    const chain = await ask.prepare({ imageId: image, volumeId: leaf }, never)
    t.strictSame(
      chain.map(({ volumeId }) => volumeId),
      [leaf, ...expected.ids.template[1]]
    )
    await ask.tearDown({ imageId: image }, never)
    const template = { imageId: expected.ids.template[0], wipe: false }
    await t.rejects(ask.removeImage(template, never), /is a template/, 'a template with derived images stays')
    const leases = await ask.listLeases({}, never)
    t.strictSame(new Set(leases.map(({ leaseId }) => leaseId)), new Set(Object.keys(expected.externalLeases)))

    const [threeImage, three] = expected.ids.chainOfThree
    const inPieces = ask.prepare({ imageId: threeImage, volumeId: three.at(-1) ?? '' }, never)
    if (await hasDeviceMapper()) t.equal((await inPieces).length, 3)
    else await t.rejects(inPieces, /several pieces, which takes device-mapper/)
    await ask.deactivate({}, never)
  }
)

t.test(
  'nothing but its owner changes in a storage domain that is handed over',
  { skip: skipped },
  async t => {
    const world = await adopted(t)
    const before = await world.group()
    await world.ask.detach({}, never)
    await world.ask.attach({ dataCenterId: ours }, never)
    const after = await world.group()
    const keys = after.tags.filter(tag => !before.tags.includes(tag)).map(tag => tag.split('=')[0])
    t.strictSame(keys.filter(key => key !== 'MDT_ROLE').toSorted(), ['MDT_POOL_UUID', 'MDT__SHA_CKSUM'])
    t.strictSame([...after.volumes.values()], [...before.volumes.values()])
    for (const [name, { slot, parentTag }] of Object.entries(expected.slots)) {
      const tagged = readVolumeTags(after.volumes.get(name)?.tags ?? [])
      t.match(tagged, { slot }, name)
      t.ok(after.volumes.get(name)?.tags.includes(`PU_${parentTag}`), `parent of ${name}`)
    }
  }
)

t.test('our own is what another reader of the format expects', { skip: skipped }, async t => {
  const world = await newBlockWorld([12 * 2 ** 30])
  t.teardown(() => removeBlockWorld(world))
  const { ask, devices, root } = world
  const names = { storageDomainId: expected.domain, kind: 'iscsi' as const, description: 'café 1' }
  const request = { ...names, devices, dataCenterId: null, ioTimeout: seconds(10) }
  const other = blockWorldAt(root, devices, expected.domain)
  await other.ask.createBlockStorageDomain(request, never)
  const found = await readBlockStorageDomain(root)
  t.match(found, { domain: expected.domain, pool: null, freeSlotNow: 1 })
  const keys = (tags: readonly string[]) => new Set(tags.map(tag => tag.split('=')[0]))
  const { tags, volumes, extentSize } = await other.group()
  t.strictSame(
    keys(tags),
    keys(
      (expected.fresh.vgs[0]?.split('|') ?? []).flatMap(field => (/MDT_/.test(field) ? field.split(',') : []))
    )
  )
  const sizes = expected.fresh.lvs.map(line => line.split('|')).map(([, name, , , size]) => `${name} ${size}`)
  const mine = [...volumes.values()].map(({ name, size }) => `${name} ${size}`)
  t.strictSame(new Set(mine), new Set(sizes))
  t.equal(extentSize, 128 * 2 ** 20)
  await ask.describe({}, never).catch(() => {})
  const said = await execute('lvm', [
    ...['vgs', '--driverloaded', 'n', '--devices', devices.join(), '--noheadings'],
    ...['-o', 'vg_attr,pv_count,lv_count,vg_mda_count,vg_mda_used_count', expected.domain]
  ])
  t.match(said.stdout.trim().split(/\s+/), ['wz--n-', '1', '7', '2', '2'])
})
