import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { bytesOf, dataDirectory, decode, format } from './manifest.js'

// Whole storage domains, made by the original software, its LVM and its sanlock.

type Json = Record<string, unknown>

const run = promisify(execFile)

const decoded = new Map<string, Promise<unknown>>()
/** Unpacking takes a while, so each archive is read once. */
const archiveOf = async (name: string): Promise<Json> => {
  const reading = decoded.get(name) ?? decode('domain-archive', `${dataDirectory}/domains/${name}`)
  decoded.set(name, reading)
  return (await reading) as Json
}
const expectations = (name: string) =>
  JSON.parse(
    bytesOf({ file: `domains/${name}.json`, kind: '', description: '' }).toString('utf8')
  ) as Json & {
    domainInfo: Json
    volumesDump: Record<string, Json>
    sanlockCalls: Array<{ call: string; resource?: string; offset: number; path?: string; lv?: string }>
  }

// `truesize` depends on the file system below; VDSM's `remotePath` here is the name of a directory of its tests.
const withoutUse = (dump: unknown) =>
  Object.fromEntries(
    Object.entries(dump as Record<string, Json>).map(([id, { truesize: _truesize, ...volume }]) => [
      id,
      volume
    ])
  )

for (const name of ['file-domain', 'file-domain-4k']) {
  t.test(`${name}: everything that is expected of the storage domain is found in its archive`, async t => {
    const expected = expectations(name)
    const found = await archiveOf(`${name}.tar.gz`)
    const keys = ['domain', 'pool', 'remotePath', 'mountDirName', 'tree', 'allVolumes', 'chains', 'children']
    for (const key of [...keys, 'externalLeases', 'metadataFiles'])
      t.strictSame(found[key], expected[key], key)
    t.strictSame(withoutUse(found['volumesDump']), withoutUse(expected.volumesDump))
    const { remotePath: _remotePath, ...domainInfo } = expected.domainInfo
    t.strictSame(found['domainInfo'], domainInfo)
  })
}

t.test('block-domain: everything that is expected is found on its physical volumes, without LVM', async t => {
  const expected = expectations('block-domain')
  const found = await archiveOf('block-domain-pvs.tar.gz')
  const keys = ['domain', 'pool', 'pvs', 'volumes', 'remnants', 'chains', 'slots', 'slotText', 'volumesDump']
  for (const key of [...keys, 'domainInfo', 'externalLeases', 'freeSlotNow']) {
    t.strictSame(found[key], expected[key], key)
  }
  t.strictSame(found['segments'], (expected['final'] as Json)['segments'])
})

for (const [name, archive] of [
  ['file-domain', 'file-domain.tar.gz'],
  ['file-domain-4k', 'file-domain-4k.tar.gz'],
  ['block-domain', 'block-domain-pvs.tar.gz']
] as const) {
  t.test(
    `${name}: every sanlock resource that was written and not cleared is found where it was put`,
    async t => {
      const { domain } = expectations(name)
      const wanted = new Map<string, string>()
      for (const { call, resource = '', offset, path, lv } of expectations(name).sanlockCalls) {
        if (call !== 'write_resource') continue
        const place = `${lv ?? path?.replace(`${String(domain)}/`, '')}:${offset}`
        if (resource === '') wanted.delete(place)
        else wanted.set(place, resource)
      }
      const found = await archiveOf(archive)
      const leases = found['leases'] as Array<{
        lv?: string
        path?: string
        offset: number
        resource: string
        checksumValid: boolean
      }>
      for (const lease of leases) t.ok(lease.checksumValid)
      const places = new Map(
        leases.map(lease => [`${lease.lv ?? lease.path}:${lease.offset}`, lease.resource])
      )
      for (const [place, resource] of wanted) {
        // Leases of volumes that were deleted or marked for deletion may be gone with their file, never moved.
        if (places.has(place)) t.equal(places.get(place), resource, place)
        else t.match(place, /\.lease:0$/, place)
      }
      t.ok(places.size >= 7)
    }
  )

  t.test(`${name}: the expectations agree with the archive beside them`, async t => {
    const { domainInfo, volumesDump, ...expected } = expectations(name)
    const found = (await decode('domain-expectations', `${dataDirectory}/domains/${name}.json`)) as Json
    const { domainInfo: _info, volumesDump: dump, ...others } = found
    t.strictSame(others, expected)
    t.strictSame(withoutUse(dump), withoutUse(volumesDump))
  })
}

t.test('a directory is read like its archive', async t => {
  const directory = t.testdir()
  const archive = `${dataDirectory}/domains/file-domain.tar.gz`
  await run('tar', ['--numeric-owner', '-xzSf', archive, '-C', directory])
  const fromArchive = await archiveOf('file-domain.tar.gz')
  const found = (await decode('domain-archive', `${directory}/${String(fromArchive['domain'])}`)) as Json
  t.strictSame({ ...found, volumesDump: null }, { ...fromArchive, volumesDump: null })
})

t.test('a directory without storage domain is refused with a reason', async t => {
  const { code, err } = await format('decode', 'domain-archive', t.testdir({ x: '' }))
  t.equal(code, 1)
  t.match(err, /neither dom_md\/metadata nor images/)
})
