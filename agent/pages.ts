import type { Fields } from '../common/fields.js'
import { Fault } from '../common/fault.js'

export type PageRequest = { size: number; after: string }

/** Page fields of a list request. A token is the key after which the page begins. */
export const pageOf = (fields: Fields): PageRequest => ({
  size: fields.integerOr('pageSize', 100, 1, 1000),
  after: fields.optionalMatching('pageToken', /^[\w:.-]{1,128}$/, 'must be a token of an earlier page') ?? ''
})

/** One page of a list whose order does not change while it is read. */
export function page<T>(all: readonly T[], keyOf: (item: T) => string, { size, after }: PageRequest) {
  const from = after === '' ? 0 : all.findIndex(item => keyOf(item) === after) + 1
  if (after !== '' && from === 0) {
    throw new Fault('INVALID_REQUEST', 'page_token is of another list', {
      violations: [{ field: 'page_token', description: 'must be a token of an earlier page' }]
    })
  }
  const items = all.slice(from, from + size)
  const last = items.at(-1)
  const isWhole = from + size >= all.length || last === undefined
  return { items, nextPageToken: isWhole ? '' : keyOf(last) }
}
