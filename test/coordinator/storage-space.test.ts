import t from 'tap'
import { keptFree, metadataNews, spaceNews } from '../../coordinator/storage-space.js'

const GiB = 2 ** 30
const free = (freeGiB: number) => ({ totalBytes: 100 * GiB, freeBytes: freeGiB * GiB })

t.test('5 GiB or a twentieth is kept, whichever is less, unless somebody said otherwise', async t => {
  t.equal(keptFree({ criticalBytes: 0, totalBytes: 1000 * GiB }), 5 * GiB)
  t.equal(keptFree({ criticalBytes: 0, totalBytes: 20 * GiB }), GiB)
  t.equal(keptFree({ criticalBytes: 7, totalBytes: 20 * GiB }), 7)
})

const cases: Array<[why: string, before: number, now: number, kind: string | null]> = [
  ['it falls below what is kept', 6, 4, 'storage_domain.space_low'],
  ['it falls further', 4, 3, null],
  ['it is just above again', 4, 5.2, null],
  ['it has a tenth more than that', 5.2, 6, 'storage_domain.space_enough'],
  ['it jumps up', 1, 50, 'storage_domain.space_enough'],
  ['it stays as it is', 50, 50, null]
]
for (const [why, before, now, kind] of cases) {
  t.test(`${why}: ${kind ?? 'nothing is said'}`, async t => {
    t.equal(spaceNews('data', free(before), free(now), 5 * GiB)?.kind ?? null, kind)
  })
}

const metadataCases: Array<[before: number, now: number, kind: string | null]> = [
  [79, 80, 'storage_domain.metadata_full'],
  [80, 95, null],
  [80, 75, null],
  [75, 69, 'storage_domain.metadata_enough'],
  [10, 20, null]
]
for (const [before, now, kind] of metadataCases) {
  t.test(
    `from ${before} to ${now} % of the room for LVM's metadata: ${kind ?? 'nothing is said'}`,
    async t => {
      t.equal(metadataNews('data', before, now)?.kind ?? null, kind)
    }
  )
}

t.test('the first figures say nothing: nobody knows what was before', async t => {
  t.equal(spaceNews('data', { totalBytes: 0, freeBytes: 0 }, free(1), 5 * GiB), null)
})
