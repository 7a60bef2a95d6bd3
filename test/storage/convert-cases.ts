import t, { type Test } from 'tap'
import { MiB } from '../../common/units.js'
import { readVolumeText, type VolumeFields, writeVolumeText } from '../../storage/format/volume-fields.js'
import type { Operation } from './crash/operations.js'
import { pointsOf, stuck, type Suite } from './crash/harness.js'
import { ids, never, type World } from './crash/world.js'

// A storage domain of format V4, made out of one of V5 by writing what oVirt's V4 had.

const { image, base, leaf, template, templateImage } = ids
export type Converted = {
  skip: string | false
  newWorld(t: Test): Promise<World>
  /** An empty storage domain that belongs to nobody. */
  create(world: World): Promise<void>
  /** What V4 had in place of what V5 has. */
  downgrade(world: World): Promise<void>
  /** All bytes of metadata, to see that nothing changed. */
  bytesOf(world: World): Promise<string>
  /** What must be true of the bytes afterwards. */
  check(t: Test, world: World): Promise<void>
}

/** The record of V4 for one of V5. */
export function oldRecord(text: Buffer): Buffer {
  const { fields } = readVolumeText(text)
  return writeVolumeText(fields as VolumeFields, 4)
}

async function fill({ ask }: World) {
  const rest = { diskContent: 'DATA', description: '{"DiskAlias":"db"}', legal: true }
  const thin = { ...rest, format: 'qcow2' as const, allocation: 'thin' as const, capacity: MiB(8) }
  const shared = { imageId: templateImage, volumeId: template }
  await ask.createVolume({ ...thin, ...shared, parent: null }, never)
  await ask.shareVolume(shared, never)
  await ask.createVolume({ ...thin, imageId: image, volumeId: base, parent: shared }, never)
  await ask.createVolume(
    { ...thin, imageId: image, volumeId: leaf, parent: { imageId: image, volumeId: base } },
    never
  )
}

const seen = async ({ ask }: World) =>
  (await ask.listVolumes({ imageId: null }, never))
    .map(({ volumeId, metadata }) => JSON.stringify({ volumeId, ...metadata, sequence: 0 }))
    .toSorted()

export function testConversion(kind: Converted): void {
  t.test('V4 becomes V5 in place, wherever it is cut off', { skip: kind.skip, timeout: 280_000 }, async t => {
    const world = await kind.newWorld(t)
    await kind.create(world)
    await fill(world)
    const before = await seen(world.restarted())
    await kind.downgrade(world)
    const v4 = world.restarted()
    await t.rejects(v4.ask.describe({}, never), /has format 4/)
    const bytes = await kind.bytesOf(world)
    const plan = await v4.ask.convert({ isApplied: false }, never)
    t.match(plan, { from: 4, obstacle: null })
    t.ok(
      plan.changes.some(line => line.includes(leaf)) && plan.changes.some(line => line.includes('VERSION=5'))
    )
    t.equal(await kind.bytesOf(world), bytes, 'a plan changes nothing')

    const convert: Operation = {
      prepare: async () => {},
      run: async it => void (await it.ask.convert({ isApplied: true }, never)),
      intents: [],
      check: async () => {}
    }
    const suite: Suite = { operations: { convert }, newWorld: async () => world, child: '' }
    const recorded = await world.copy()
    const points = await pointsOf('convert', recorded, suite)
    await recorded.remove()
    t.ok(points.length >= 4, points.join(', '))
    for (const point of points) {
      const copy = await world.copy()
      await stuck('convert', copy, point, suite)
      await convert.run(copy.restarted())
      const after = copy.restarted()
      t.strictSame(await seen(after), before, `the same volumes after ${point}`)
      t.strictSame(await after.ask.audit({ intents: [] }, never), [], `whole after ${point}`)
      await kind.check(t, copy)
      t.strictSame((await after.ask.convert({ isApplied: true }, never)).changes, [], 'nothing is left to do')
      await copy.remove()
    }
  })

  t.test('what somebody owns is not converted', { skip: kind.skip }, async t => {
    const world = await kind.newWorld(t)
    await kind.create(world)
    await world.ask.attach({ dataCenterId: ids.dataCenter }, never)
    await kind.downgrade(world)
    const { ask } = world.restarted()
    t.match(await ask.convert({ isApplied: false }, never), { obstacle: /owns it/ })
    const bytes = await kind.bytesOf(world)
    await t.rejects(ask.convert({ isApplied: true }, never), /owns it/)
    t.equal(await kind.bytesOf(world), bytes)
  })
}
