import { createHash } from 'node:crypto'
import { BlockStorageDomain } from '../../../storage/block-storage-domain.js'
import { readDirect, writeDirect } from '../../../storage/direct-io.js'
import { metadataTagChange, readMetadataTags, readVolumeTags } from '../../../storage/format/block-tags.js'
import { slotOffset } from '../../../storage/format/leases-layout.js'
import { padVolumeText } from '../../../storage/format/volume-fields.js'
import { bytes } from '../../../common/units.js'
import { ids, never, type World } from '../../storage/crash/world.js'
import { oldRecord, testConversion } from '../../storage/convert-cases.js'
import { toolsOf } from '../../storage/doctor-cases.js'
import {
  type BlockWorld,
  newBlockStorageDomain,
  newBlockWorld,
  removeBlockWorld,
  skipped
} from './block-world.js'

const opened = (world: World) =>
  BlockStorageDomain.open(ids.storageDomain, (world as BlockWorld).devices, toolsOf(world.root), [4, 5])

testConversion({
  skip: skipped,
  newWorld: async t => {
    const world = await newBlockWorld([12 * 2 ** 30])
    t.teardown(() => removeBlockWorld(world))
    return world
  },
  create: async world =>
    void (await world.ask.createBlockStorageDomain(newBlockStorageDomain(world as BlockWorld, null), never)),
  downgrade: async world => {
    const { group, special, onHost } = await opened(world)
    const { volumes, tags } = await group.read()
    for (const volume of volumes.values()) {
      const tagged = readVolumeTags(volume.tags)
      if (tagged.kind !== 'volume') continue
      const text = await readDirect(special.metadata, slotOffset(tagged.slot), 512)
      await writeDirect(special.metadata, bytes(tagged.slot * 512), padVolumeText(oldRecord(text)))
      await writeDirect(special.metadata, slotOffset(tagged.slot), Buffer.alloc(512))
    }
    const v4 = new Map(readMetadataTags(tags))
      .set('VERSION', '4')
      .set('LOGBLKSIZE', '512')
      .set('PHYBLKSIZE', '512')
    for (const key of ['ALIGNMENT', 'BLOCK_SIZE']) v4.delete(key)
    await group.change({ kind: 'changeVgTags', vg: group.vg, ...metadataTagChange(tags, v4) }, never)
    await onHost.close()
  },
  bytesOf: async world => {
    const { group, special, onHost } = await opened(world)
    const bytes = await readDirect(special.metadata, 0, 17 * 2 ** 20)
    const { seqno } = await group.read()
    await onHost.close()
    return `${seqno} ${createHash('sha256').update(bytes).digest('hex')}`
  },
  check: async (t, world) => {
    const { group, special, onHost } = await opened(world)
    t.notOk(
      (await readDirect(special.metadata, 0, 2 ** 20)).some(byte => byte !== 0),
      'the old records are gone'
    )
    const pairs = readMetadataTags((await group.read()).tags)
    t.strictSame(
      [pairs.get('VERSION'), pairs.get('ALIGNMENT'), pairs.get('LOGBLKSIZE')],
      ['5', '1048576', undefined]
    )
    await onHost.close()
  }
})
