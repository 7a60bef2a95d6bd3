import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { MiB } from '../../../common/units.js'
import {
  commitVolumeTags,
  decodeTag,
  encodeTag,
  freePvNumber,
  metadataTagChange,
  metadataTags,
  readMetadataTags,
  readVolumeTags,
  vgState
} from '../../../storage/format/block-tags.js'
import { FormatError } from '../../../storage/format/format-error.js'
import {
  isSealed,
  readLines,
  readMetadataFile,
  writeMetadataFile
} from '../../../storage/format/metadata-pairs.js'
import { sha1 } from '../../../storage/format/sha1.js'
import {
  type StorageDomainMetadata,
  parseStorageDomainMetadata,
  storageDomainPairs,
  withChanges
} from '../../../storage/format/storage-domain-metadata.js'

const nfs: StorageDomainMetadata = {
  storageDomainId: '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a',
  version: 5,
  kind: 'nfs',
  class: 'data',
  description: 'café 1',
  role: 'regular',
  poolIds: [],
  lockPolicy: '',
  alignment: MiB(1),
  sectorSize: 512,
  remotePath: 'nas1:/export/vm',
  vgUuid: null,
  pvs: new Map()
}

// The worked example of the format's description.
const text = `ALIGNMENT=1048576
BLOCK_SIZE=512
CLASS=Data
DESCRIPTION=café 1
IOOPTIMEOUTSEC=10
LEASERETRIES=3
LEASETIMESEC=60
LOCKPOLICY=
LOCKRENEWALINTERVALSEC=5
POOL_UUID=
REMOTE_PATH=nas1:/export/vm
ROLE=Regular
SDUUID=6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a
TYPE=NFS
VERSION=5
_SHA_CKSUM=c68cc3cb9acdc48a4ae738b666734d3b721a9e79
`

t.test('a new storage domain has the text of the description, and is read back', async t => {
  t.equal(writeMetadataFile(storageDomainPairs(nfs)).toString('utf8'), text)
  t.strictSame(parseStorageDomainMetadata(readMetadataFile(Buffer.from(text))), nfs)
})

t.test('a direct read that was padded with NUL is the same metadata', async t => {
  const padded = Buffer.concat([Buffer.from(text), Buffer.alloc(200)])
  t.strictSame(parseStorageDomainMetadata(readMetadataFile(padded)), nfs)
})

t.test('every change of one character breaks the seal', async t => {
  const lines = Buffer.from(text)
  const end = lines.indexOf('_SHA') - 1 // without its line end the seal itself is gone, and metadata unsealed
  for (let at = 0; at < end; at++) {
    const changed = Buffer.from(lines)
    changed[at] = (changed[at] ?? 0) === 0x41 ? 0x42 : 0x41
    t.throws(() => readMetadataFile(changed), FormatError, `byte ${at}`)
  }
})

t.test('attaching changes the pool and the seal, and keeps keys that we do not know', async t => {
  const old = new Map([...readMetadataFile(Buffer.from(text)), ['MASTER_VERSION', '7']])
  const attached = withChanges(old, { poolIds: ['11111111-2222-4333-8444-555555555555'], role: 'regular' })
  t.equal(attached.get('MASTER_VERSION'), '7')
  const again = readMetadataFile(writeMetadataFile(attached))
  t.strictSame([...again].toSorted(), [...attached].toSorted())
  t.strictSame(parseStorageDomainMetadata(again).poolIds, ['11111111-2222-4333-8444-555555555555'])
})

const refused: Array<[why: string, change: Record<string, string | undefined>]> = [
  ['an unknown type', { TYPE: 'FLOPPY' }],
  ['an unknown class', { CLASS: 'Export' }],
  ['no id', { SDUUID: undefined }],
  ['a version that is no number', { VERSION: 'five' }],
  ['a sector of 520 bytes', { BLOCK_SIZE: '520' }],
  ['an alignment of 3 MiB', { ALIGNMENT: '3145728' }],
  ['a broken PV mapping', { PV0: 'pv:x' }]
]

for (const [why, change] of refused) {
  t.test(`${why} is refused`, async t => {
    const pairs = new Map(storageDomainPairs(nfs))
    for (const [key, value] of Object.entries(change)) {
      if (value === undefined) pairs.delete(key)
      else pairs.set(key, value)
    }
    t.throws(() => parseStorageDomainMetadata(pairs), FormatError)
  })
}

t.test(
  'metadata without a seal is accepted, as old domains may have none, and known to have none',
  async t => {
    const lines = text.split('\n').filter(line => !line.startsWith('_SHA'))
    t.strictSame(parseStorageDomainMetadata(readLines(lines)), nfs)
    t.strictSame([isSealed(lines), isSealed(text.split('\n'))], [false, true])
  }
)

t.test('a blank pool means not attached, missing geometry means 512 bytes and 1 MiB', async t => {
  const pairs = new Map(storageDomainPairs(nfs))
  pairs.set('POOL_UUID', '00000000-0000-0000-0000-000000000000')
  pairs.delete('ALIGNMENT')
  pairs.delete('BLOCK_SIZE')
  t.match(parseStorageDomainMetadata(pairs), { poolIds: [], alignment: MiB(1), sectorSize: 512 })
})

t.test('descriptions have 50 characters and no line ends', async t => {
  t.doesNotThrow(() => storageDomainPairs({ ...nfs, description: '💾'.repeat(50) }))
  t.throws(() => storageDomainPairs({ ...nfs, description: 'x'.repeat(51) }), {
    name: 'FormatError',
    reason: 'overflow'
  })
  t.throws(() => storageDomainPairs({ ...nfs, description: 'a\nROLE=Master' }), {
    name: 'FormatError',
    reason: 'invalid'
  })
  t.throws(() => writeMetadataFile(new Map([['DESCRIPTION', 'a\u2028b']])), {
    name: 'FormatError',
    reason: 'invalid'
  })
})

const iscsi: StorageDomainMetadata = {
  ...nfs,
  kind: 'iscsi',
  remotePath: null,
  poolIds: ['11111111-2222-4333-8444-555555555555'],
  vgUuid: 'qmsbHz-Ew4R-tOUA-xVZw-H5rL-MLBI-Ue3jj5',
  pvs: new Map([
    [
      0,
      {
        device: '36001405aa00000000000000000000001',
        uuid: '0QDo0b-mRM3-JY9t-neay-NVfo-xcRa-tXGeLN',
        start: 0,
        extents: 797,
        offset: 0
      }
    ]
  ])
}

t.test('a block storage domain has the tags of the description', async t => {
  const tags = metadataTags(storageDomainPairs(iscsi))
  t.ok(tags.includes('MDT_DESCRIPTION=caf&233&&32&1'))
  t.ok(tags.includes('MDT__SHA_CKSUM=5435612442723d45d10f524869d8406ceab2818a'))
  t.ok(
    tags.includes(
      'MDT_PV0=pv:36001405aa00000000000000000000001&44&uuid:0QDo0b-mRM3-JY9t-neay-NVfo-xcRa-tXGeLN&44&pestart:0&44&pecount:797&44&mapoffset:0'
    )
  )
  t.strictSame(parseStorageDomainMetadata(readMetadataTags(tags.toReversed())), iscsi)
})

t.test('a change of tags names only what differs, and nothing when nothing does', async t => {
  const pairs = storageDomainPairs(iscsi)
  const tags = ['RHAT_storage_domain', ...metadataTags(pairs)]
  t.strictSame(metadataTagChange(tags, pairs), { remove: [], add: [] })
  const { remove, add } = metadataTagChange(tags, withChanges(pairs, { poolIds: [] }))
  t.strictSame(
    [...remove, ...add].map(tag => tag.replace(/=.*/, '')),
    ['MDT_POOL_UUID', 'MDT__SHA_CKSUM', 'MDT_POOL_UUID', 'MDT__SHA_CKSUM']
  )
})

const image = 'd18ae4fc-1111-4222-8333-444444444444'
const lvs: Array<[why: string, tags: string[], expected: unknown]> = [
  ['a volume', [`IU_${image}`, 'MD_3', 'PU_x'], { kind: 'volume', slot: 3, parentId: 'x', imageId: image }],
  [
    'a base',
    ['PU_00000000-0000-0000-0000-000000000000', 'MD_1', 'IU_i'],
    { kind: 'volume', slot: 1, parentId: null, imageId: 'i' }
  ],
  [
    'a deleted one',
    [`IU__remove_me_${image}`, 'MD_7', 'PU_p'],
    { kind: 'removed', slot: 7, parentId: 'p', imageId: image, wipe: false }
  ],
  [
    'one to be wiped',
    [`IU__remove_me_ZERO_${image}`, 'MD_7', 'PU_p'],
    { kind: 'removed', slot: 7, parentId: 'p', imageId: image, wipe: true }
  ],
  ['one half made', ['OVIRT_VOL_INITIALIZING'], { kind: 'initializing' }],
  ['one without slot', ['IU_i', 'PU_p'], { kind: 'unknown', problem: 'no metadata slot' }],
  ['one with a word for a slot', ['IU_i', 'PU_p', 'MD_x'], { kind: 'unknown', problem: 'no metadata slot' }],
  ['one without image', ['MD_1', 'PU_p'], { kind: 'unknown', problem: 'no image' }],
  ['one without parent', ['MD_1', 'IU_p'], { kind: 'unknown', problem: 'no parent' }]
]

for (const [why, tags, expected] of lvs) {
  t.test(`the tags of ${why} are understood`, async t => {
    t.strictSame(readVolumeTags(tags), expected)
  })
}

t.test('committing a volume swaps one tag for three, which read back', async t => {
  const volume = { slot: 12, imageId: image, parentId: null }
  const { remove, add } = commitVolumeTags(volume)
  t.strictSame(remove, ['OVIRT_VOL_INITIALIZING'])
  t.strictSame(readVolumeTags(add), { kind: 'volume', ...volume })
})

t.test('a volume group is ready, being made, or of somebody else', async t => {
  t.strictSame([['RHAT_storage_domain', 'x'], ['RHAT_storage_domain_UNREADY'], ['x']].map(vgState), [
    'ready',
    'unready',
    'foreign'
  ])
  t.strictSame([freePvNumber([]), freePvNumber([0, 1, 3]), freePvNumber([1])], [0, 2, 0])
})

t.test('our SHA-1 is SHA-1', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), raw => {
      const bytes = Buffer.from(raw)
      return sha1(bytes) === createHash('sha1').update(bytes).digest('hex')
    })
  )
})

const unicode = fc.string({ unit: 'binary', maxLength: 60 })

t.test('every text survives as a tag that LVM accepts', async () => {
  fc.assert(
    fc.property(unicode, plain => {
      const tag = encodeTag(plain)
      return decodeTag(tag) === plain && /^[a-zA-Z0-9_+.\-/=!:#&]*$/.test(tag)
    })
  )
})

const pairs = fc
  .dictionary(fc.stringMatching(/^[A-Z_0-9]{1,12}$/), unicode)
  .map(entries => new Map(Object.entries(entries).filter(([key]) => key !== '_SHA_CKSUM')))

t.test('any pairs survive as tags; as a file they survive or are refused for a line end', async () => {
  fc.assert(
    fc.property(pairs, written => {
      const same = (read: ReadonlyMap<string, string>) =>
        t.strictSame([...read].toSorted(), [...written].toSorted())
      if (!same(readMetadataTags(metadataTags(written)))) return false
      try {
        const file = writeMetadataFile(written)
        return file.at(-1) === 10 && same(readMetadataFile(file))
      } catch (error) {
        return error instanceof FormatError
      }
    })
  )
})

t.test('any bytes give metadata or a FormatError', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), raw => {
      try {
        parseStorageDomainMetadata(readMetadataFile(Buffer.from(raw)))
        return true
      } catch (error) {
        return error instanceof FormatError
      }
    })
  )
})
