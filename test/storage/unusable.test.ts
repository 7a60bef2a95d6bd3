import t from 'tap'
import { throwIfUnusable } from '../../storage/file-storage-domain.js'
import type { StorageDomainMetadata } from '../../storage/format/storage-domain-metadata.js'

// Table B, B43: a storage domain of a newer format is left alone. What such a one's fields mean nobody knows here; those
// of format V5 that we do not know are kept (format/storage-domain-metadata.test.ts).

const storageDomainId = '11111111-2222-4333-8444-555555555555'
const metadata = { storageDomainId, version: 5, class: 'data' } as StorageDomainMetadata
const outcome = (change: Partial<StorageDomainMetadata>, name = storageDomainId): unknown => {
  try {
    return throwIfUnusable({ ...metadata, ...change }, name, [5])
  } catch (error) {
    return error
  }
}

t.test('only data of format V5 is used', async t => {
  t.equal(outcome({}), undefined)
  for (const version of [4, 6, 50])
    t.match(
      outcome({ version }),
      { reason: 'WRONG_STATE', status: 'FAILED_PRECONDITION' },
      `format ${version}`
    )
  t.match(outcome({ class: 'iso' }), { reason: 'UNSUPPORTED' })
  t.match(outcome({}, 'another'), { reason: 'CORRUPT' })
})
