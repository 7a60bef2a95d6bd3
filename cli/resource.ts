import type { Command } from 'commander'
import type { Method } from '../common/client.js'
import { Fault } from '../common/fault.js'
import { isUuid } from '../common/ids.js'
import { details, json, table } from './print.js'
import { withSession, type Session } from './session.js'
import { integer } from './units.js'

type ListRequest = { pageSize?: number; pageToken?: string; filter?: string; orderBy?: string }
type Column<T> = [title: string, cell: (item: T, names: Names) => string]
/** Ids as names, where a table is better read so. */
export type Names = (kind: string, id: string) => string

/** What `list` and `show` need to know of a kind of object. */
export type Resource<T, Page extends { nextPageToken: string }> = {
  noun: string
  plural: string
  list: Method<ListRequest, Page>
  items: (page: Page) => T[]
  get: (session: Session, idOrName: string) => Promise<T>
  id: (item: T) => string
  name: (item: T) => string
  columns: Array<Column<T>>
  /** Kinds whose names the columns show. */
  refers?: string[]
  filterFields: string
  orderFields: string
}

// Registered so that completion and names can ask for any kind by its noun.
const resources = new Map<
  string,
  Pick<Resource<never, never>, 'noun'> & { pairs(session: Session): Promise<Array<[string, string]>> }
>()

/** All (id, name) pairs of a kind. */
export async function pairsOf(session: Session, noun: string): Promise<Array<[id: string, name: string]>> {
  return (await resources.get(noun)?.pairs(session)) ?? []
}

/** Registers a kind, and gives it `list` and `show`. */
export function addReading<T extends object, Page extends { nextPageToken: string }>(
  parent: Command,
  resource: Resource<T, Page>
): void {
  const { noun, plural, id, name } = resource
  resources.set(noun, {
    noun,
    pairs: async session => (await all(session, resource, {}, 10_000)).map(item => [id(item), name(item)])
  })
  parent
    .command('list')
    .alias('ls')
    .description(`List ${plural}.`)
    .option(
      '--filter <CONDITIONS>',
      `only those that meet all conditions, joined by AND; fields: ${resource.filterFields}`
    )
    .option('--order-by <FIELD>', `order, with optional " desc"; fields: ${resource.orderFields}`)
    .option('--limit <N>', 'at most so many', integer(1, 1_000_000))
    .option('-q, --ids', 'print ids only, one a line')
    .action(
      withSession(
        async (session, options: { filter?: string; orderBy?: string; limit?: number; ids?: boolean }) => {
          const items = await all(session, resource, options, options.limit ?? Infinity)
          if (session.options.json) session.out.print(json(items))
          else if (options.ids) for (const item of items) session.out.print(id(item))
          else session.out.print(await drawn(session, resource, items))
        }
      )
    )
  parent
    .command('show')
    .argument(`<${noun.toUpperCase()}>`, 'id or name')
    .description(`Show one ${noun.replaceAll('-', ' ')} in full.`)
    .action(
      withSession(async (session, idOrName: string) => {
        const item = await resource.get(session, idOrName)
        session.out.print(session.options.json ? json(item) : details(item))
      })
    )
}

/** Every item, page by page. */
export async function all<T, Page extends { nextPageToken: string }>(
  session: Session,
  { list, items }: Pick<Resource<T, Page>, 'list' | 'items'>,
  { filter = '', orderBy = '' }: { filter?: string; orderBy?: string },
  most: number
): Promise<T[]> {
  const found: T[] = []
  for (let pageToken = ''; found.length < most;) {
    const pageSize = Math.min(1000, most - found.length)
    const page = await session.call(list, { pageSize: Math.min(1000, pageSize), pageToken, filter, orderBy })
    found.push(...items(page))
    pageToken = page.nextPageToken
    if (pageToken === '') break
  }
  return found
}

/** An id for what a person typed: ids are taken as they are, names are asked for. */
export async function idOf(
  session: Session,
  resource: { get(session: Session, name: string): Promise<object>; id(item: never): string },
  idOrName: string
): Promise<string> {
  if (isUuid(idOrName)) return idOrName
  return resource.id((await resource.get(session, idOrName)) as never)
}

/** As idOf; nothing stays nothing. */
export async function optionalIdOf(
  session: Session,
  resource: Parameters<typeof idOf>[1],
  idOrName: string | undefined
): Promise<string> {
  return idOrName === undefined ? '' : idOf(session, resource, idOrName)
}

async function drawn<T, Page extends { nextPageToken: string }>(
  session: Session,
  { columns, refers = [], plural }: Resource<T, Page>,
  items: T[]
): Promise<string> {
  if (items.length === 0) return `no ${plural}`
  const known = new Map<string, string>()
  for (const kind of refers) {
    // A viewer may see the objects but not what they refer to: ids are good enough then.
    const pairs = await pairsOf(session, kind).catch((error: unknown) => {
      if (error instanceof Fault) return []
      throw error
    })
    for (const [itemId, itemName] of pairs) known.set(`${kind}/${itemId}`, itemName)
  }
  const names: Names = (kind, id) => known.get(`${kind}/${id}`) ?? id
  return table(
    columns.map(([title]) => title),
    items.map(item => columns.map(([, cell]) => cell(item, names)))
  )
}
