import { readdir, readFile, writeFile } from 'node:fs/promises'
import { MiB } from '../../common/units.js'
import { fileLayout } from '../../storage/file-layout.js'
import { readPairs, writePairs } from '../../storage/file-storage-domain.js'
import { writeDirect } from '../../storage/direct-io.js'
import { hostIdOffset } from '../../storage/format/leases-layout.js'
import { unusedHostRecord, writeSanlockRecord } from '../../storage/format/sanlock-record.js'
import t from 'tap'
import { ids, never, newStorageDomain, newWorld, run, type World } from './crash/world.js'
import { type Converted, oldRecord, testConversion } from './convert-cases.js'

const layoutOf = (world: World) => fileLayout(`${world.mount}/${ids.storageDomain}`)

async function metas(world: World): Promise<string[]> {
  const { images } = layoutOf(world)
  const names = await readdir(images, { recursive: true })
  return names.filter(name => name.endsWith('.meta')).map(name => `${images}/${name}`)
}

const onFiles: Converted = {
  skip: false,
  newWorld: async t => {
    const world = await newWorld()
    t.teardown(() => world.remove())
    return world
  },
  create: async world => void (await world.ask.createStorageDomain(newStorageDomain(world, null), never)),
  downgrade: async world => {
    // Links between records are kept: each file is written once, in place.
    for (const path of await metas(world)) {
      const text = await readFile(path)
      if (!text.includes('SIZE=')) await writeFile(path, oldRecord(text))
    }
    const pairs = await readPairs(layoutOf(world))
    const v4 = new Map(pairs).set('VERSION', '4')
    for (const key of ['ALIGNMENT', 'BLOCK_SIZE']) v4.delete(key)
    await writePairs(layoutOf(world), v4, null, 'test/downgrade')
  },
  bytesOf: async world =>
    run(
      'sh',
      '-c',
      `cd '${layoutOf(world).directory}' && find dom_md/metadata images -type f | sort | xargs sha256sum`
    ),
  check: async (t, world) => {
    for (const path of await metas(world)) t.notMatch(await readFile(path, 'utf8'), /SIZE=|MTIME/)
    t.match(await readFile(layoutOf(world).metadata, 'utf8'), /VERSION=5/)
  }
}

testConversion(onFiles)

t.test('what a living host uses is not converted', { timeout: 60_000 }, async t => {
  const world = await onFiles.newWorld(t)
  await onFiles.create(world)
  await onFiles.downgrade(world)
  const renew = (timestamp: bigint) => {
    const record = {
      ...unusedHostRecord(ids.storageDomain, 512, MiB(1), 1),
      ownerId: 7n,
      ownerGeneration: 3n
    }
    const alive = { ...record, leaseVersion: 3n, resource: 'vdsm', timestamp }
    return writeDirect(layoutOf(world).ids, hostIdOffset(7, 512), writeSanlockRecord(alive))
  }
  let now = 4711n
  await renew(now)
  const timer = setInterval(() => void renew(++now), 500)
  t.teardown(() => clearInterval(timer))
  const plan = await world.restarted().ask.convert({ isApplied: false }, never)
  t.match(plan, { from: 4, obstacle: /host id 7 \(vdsm\) uses/ })
})
