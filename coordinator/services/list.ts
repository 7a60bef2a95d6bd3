import { createHmac, timingSafeEqual } from 'node:crypto'
import { sql as raw, type RawBuilder, type SelectQueryBuilder } from 'kysely'
import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { canonicalJson, contentHash, isUuid } from '../../common/ids.js'
import type { Reader } from '../store/query.js'
import type { Tables } from '../store/tables.js'
import { filterRule, globOf, type Condition } from './filter.js'

/** How a field of the filter becomes SQL. */
export type FilterField = {
  column: string
  /** `enum`: words of the proto enum, for example UP; `id`: a UUID or, where `resolve` is given, a name. */
  kind: 'text' | 'id' | 'enum'
  /** For `enum`: the words that may be asked for, in lower case, and the values of the column. */
  values?: readonly string[]
}

export type ListSpec = {
  filters: Record<string, FilterField>
  /** Fields of order_by, with their columns. */
  orders: Record<string, string>
  /** For example "name" or "created desc". */
  standardOrder: string
  /** The column that tells rows apart; breaks ties of the order. */
  id: string
}

type Order = { column: string; isDescending: boolean }
type Value = string | number
export type ListRequest = {
  size: number
  conditions: Condition[]
  order: Order
  /** Where the page begins: values of the last row of the page before. */
  after: { value: Value; id: Value } | null
  /** Digest of filter and order: a token is good for the list it was made for. */
  list: string
}

const mostItems = 1000
const tagLength = 16

/**
 * Pages, filters and orders, the same for all lists. A page token holds where the next page begins, signed
 * with a key of this installation: one that was made up, changed, or made for another list is refused.
 */
export class Lists {
  readonly #key: Buffer

  constructor(key: Buffer) {
    this.#key = key
  }

  /** Reads page_size, page_token, filter and order_by. */
  read(fields: Fields, spec: ListSpec): ListRequest {
    const size = fields.integerOr('pageSize', 100, 1, 2 ** 31 - 1)
    const conditions = fields.is('filter', filterRule, [])
    for (const [index, condition] of conditions.entries()) {
      const wrong = wrongCondition(condition, spec)
      if (wrong) fields.refuse('filter', `condition ${index + 1}: ${wrong}`, null)
    }
    const orderBy = fields.freeText('orderBy', 200).trim() || spec.standardOrder
    const order = orderOf(orderBy, spec)
    if (!order) {
      const names = Object.keys(spec.orders).join(', ')
      fields.refuse('orderBy', `must be one of ${names}, with " desc" or without`, null)
    }
    const known = order ?? { column: spec.id, isDescending: false }
    const list = contentHash({ conditions, orderBy, id: spec.id, filters: Object.keys(spec.filters) })
    const token = fields.freeText('pageToken', 4096)
    const after = token === '' ? null : this.#open(token, list)
    if (token !== '' && !after)
      fields.refuse('pageToken', 'must be a token of an earlier page of this list', null)
    return { size: Math.min(size, mostItems), conditions, order: known, after, list }
  }

  /** One page of a query over a table or view; the token of the next one, or an empty text. */
  page<T extends keyof Tables, Row extends object>(
    reader: Reader,
    query: SelectQueryBuilder<Tables, T, Row>,
    { size, conditions, order, after, list }: ListRequest,
    spec: ListSpec
  ): { rows: Row[]; nextPageToken: string } {
    let found = query
    for (const condition of conditions) found = found.where(conditionOf(condition, spec))
    if (after) found = found.where(beyond(order, spec.id, after))
    const direction = order.isDescending ? 'desc' : 'asc'
    found = found
      .orderBy(raw.ref(order.column), direction)
      .orderBy(raw.ref(spec.id), direction)
      .limit(size + 1)
    const rows = reader.all(found)
    const last = rows.length > size ? rows[size - 1] : undefined
    const nextPageToken = last ? this.#seal(list, valueAt(last, order.column), valueAt(last, spec.id)) : ''
    return { rows: rows.slice(0, size), nextPageToken }
  }

  #seal(list: string, value: Value, id: Value): string {
    const body = Buffer.from(canonicalJson([value, id]))
    return Buffer.concat([this.#tag(list, body), body]).toString('base64url')
  }

  #open(token: string, list: string): ListRequest['after'] {
    const bytes = Buffer.from(token, 'base64url')
    if (bytes.toString('base64url') !== token || bytes.length <= tagLength) return null
    const body = bytes.subarray(tagLength)
    if (!timingSafeEqual(bytes.subarray(0, tagLength), this.#tag(list, body))) return null
    const [value, id] = JSON.parse(body.toString('utf8')) as [Value, Value]
    return { value, id }
  }

  #tag(list: string, body: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(list).update(body).digest().subarray(0, tagLength)
  }
}

function wrongCondition({ field, value, isPattern }: Condition, { filters }: ListSpec): string | null {
  const known = Object.hasOwn(filters, field) ? filters[field] : undefined
  if (!known) return `field must be one of ${Object.keys(filters).join(', ')}`
  if (known.kind === 'text') return null
  if (isPattern) return `${field} is compared as a whole, without *`
  if (known.kind === 'id') return value === '' || isUuid(value) ? null : `${field} must be a UUID`
  const words = known.values ?? []
  return words.includes(value.toLowerCase())
    ? null
    : `${field} must be one of ${words.map(word => word.toUpperCase()).join(', ')}`
}

function orderOf(text: string, { orders }: ListSpec): Order | null {
  const [, name = '', direction = 'asc'] = /^([a-z_]+)(?:\s+(asc|desc))?$/.exec(text) ?? []
  const column = Object.hasOwn(orders, name) ? orders[name] : undefined
  return column === undefined ? null : { column, isDescending: direction === 'desc' }
}

function conditionOf(
  { field, negated, value, isPattern }: Condition,
  { filters }: ListSpec
): RawBuilder<boolean> {
  const known = filters[field]
  if (!known) throw new Error(`no filter ${field}`)
  const column = raw`coalesce(${raw.ref(known.column)}, '')`
  const wanted = known.kind === 'enum' ? value.toLowerCase() : value
  if (isPattern) {
    return negated ? raw`${column} NOT GLOB ${globOf(wanted)}` : raw`${column} GLOB ${globOf(wanted)}`
  }
  if (negated) return raw`${column} <> ${wanted}`
  // Plain where it can be: an index helps.
  return wanted === '' ? raw`${column} = ''` : raw`${raw.ref(known.column)} = ${wanted}`
}

function beyond(
  { column, isDescending }: Order,
  id: string,
  { value, id: lastId }: NonNullable<ListRequest['after']>
) {
  const [a, b] = [raw.ref(column), raw.ref(id)]
  return isDescending
    ? raw<boolean>`(${a}, ${b}) < (${value}, ${lastId})`
    : raw<boolean>`(${a}, ${b}) > (${value}, ${lastId})`
}

function valueAt(row: object, column: string): Value {
  const value = (row as Record<string, unknown>)[column]
  if (typeof value === 'string' || typeof value === 'number') return value
  throw new Fault('INTERNAL', `a list is ordered by ${column}, which has no value`)
}
