import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { MiB } from '../../../common/units.js'
import { never } from '../../storage/crash/world.js'
import { newBlockStorageDomain, newBlockWorld, removeBlockWorld, skipped } from './block-world.js'

// Many volumes extended by one LVM: what it did, as another LVM sees it.

const execute = promisify(execFile)
const GiB = (n: number) => MiB(1024 * n)

t.test('volumes that need room get it by one LVM, each by itself', { skip: skipped }, async t => {
  const world = await newBlockWorld()
  t.teardown(() => removeBlockWorld(world))
  const { ask } = world
  await ask.createBlockStorageDomain(newBlockStorageDomain(world), never)
  await ask.activate({ sanlockHostId: 1 }, never)
  t.teardown(() => ask.deactivate({}, never).catch(() => {}))
  const create = async () => {
    const volumeId = randomUUID()
    const kind = { parent: null, format: 'qcow2' as const, allocation: 'thin' as const }
    const about = { diskContent: 'DATA', description: '', legal: true, initialSize: MiB(64) }
    await ask.createVolume({ imageId: randomUUID(), volumeId, capacity: GiB(8), ...kind, ...about }, never)
    return volumeId
  }
  const [a, b, c, huge] = [await create(), await create(), await create(), await create()]
  const nobody = randomUUID()
  const extend = (...volumes: Array<[volumeId: string, mebibytes: number]>) =>
    ask.extendVolumes({ volumes: volumes.map(([volumeId, to]) => ({ volumeId, to: MiB(to) })) }, never)

  const before = (await world.group()).seqno
  const answers = await extend([a, 256], [nobody, 256], [b, 300], [huge, 99_000], [c, 100], [a, 384])
  t.match(answers, [
    { volumeId: a, size: MiB(384), failure: null },
    { volumeId: nobody, size: 0, failure: { reason: 'VOLUME_NOT_FOUND' } },
    { volumeId: b, size: MiB(384), failure: null },
    { volumeId: huge, size: MiB(128), failure: { reason: 'STORAGE_DOMAIN_FULL' } },
    { volumeId: c, size: MiB(128), failure: null },
    { volumeId: a, size: MiB(384), failure: null }
  ])
  const group = await world.group()
  t.equal(group.seqno, before + 2, 'a commit for each that was too small, and no other')

  const words = ['--devices', world.devices.join(), '--noheadings', '--nosuffix', '--units', 'm']
  const lvs = [
    'lvs',
    '--driverloaded',
    'n',
    ...words,
    '-o',
    'name,size',
    '--separator',
    ' ',
    group.reading.group.name
  ]
  const { stdout } = await execute('lvm', lvs)
  const sizes = new Map(
    stdout
      .trim()
      .split('\n')
      .map(line => line.trim().split(' ') as [string, string])
  )
  t.strictSame(
    [a, b, c, huge].map(id => Number(sizes.get(id))),
    [384, 384, 128, 128]
  )
  await execute('lvm', [
    'vgck',
    '--driverloaded',
    'n',
    '--devices',
    world.devices.join(),
    group.reading.group.name
  ])

  await t.test('the last extents go to those that ask first', async t => {
    const free = (await world.group()).freeExtents
    const all = 384 + free * 128
    const last = await extend([a, all], [b, 512])
    t.match(last, [{ size: MiB(all), failure: null }, { failure: { reason: 'STORAGE_DOMAIN_FULL' } }])
  })

  await t.test('settings of LVM come from a file of ours, so asynchronous I/O is off', async t => {
    const settings = await readFile(`${world.root}/run/lvm/lvm.conf`, 'utf8')
    t.match(settings, /use_aio = 0/)
    const env = { ...process.env, LVM_SYSTEM_DIR: `${world.root}/run/lvm` }
    const { stdout } = await execute('lvmconfig', ['global/use_aio', 'devices/hints'], { env })
    t.strictSame(stdout.trim().split('\n').toSorted(), ['hints="none"', 'use_aio=0'])
  })
})
