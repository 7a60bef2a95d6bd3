import type { Database, Statement } from 'better-sqlite3'
import {
  DummyDriver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type Compilable
} from 'kysely'
import type { Tables } from './tables.js'

// The typed layer: kysely builds SQL and knows the type of its rows; better-sqlite3 runs it, synchronously.

/** Builds queries. It never runs them. */
export const sql = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: db => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler()
  }
})

/** What may be asked of the store at any time. */
export type Reader = {
  all<Row>(query: Compilable<Row>): Row[]
  first<Row>(query: Compilable<Row>): Row | null
}

/** What a transaction may do. It ends with the function that got it. */
export type Tx = Reader & {
  /** Runs a statement; the number of rows it changed. */
  run(query: Compilable): number
}

const mostStatements = 500

/** Runs built queries on one connection; each text is prepared once. */
export class Queries implements Tx {
  readonly #db: Database
  readonly #prepared = new Map<string, Statement>()

  constructor(db: Database) {
    this.#db = db
  }

  all<Row>(query: Compilable<Row>): Row[] {
    const { sql: text, parameters } = query.compile()
    return this.#statement(text).all(...parameters) as Row[]
  }

  first<Row>(query: Compilable<Row>): Row | null {
    const { sql: text, parameters } = query.compile()
    return (this.#statement(text).get(...parameters) as Row | undefined) ?? null
  }

  run(query: Compilable): number {
    const { sql: text, parameters } = query.compile()
    return this.#statement(text).run(...parameters).changes
  }

  #statement(text: string): Statement {
    const known = this.#prepared.get(text)
    if (known) return known
    if (this.#prepared.size >= mostStatements) this.#prepared.clear()
    const fresh = this.#db.prepare(text)
    this.#prepared.set(text, fresh)
    return fresh
  }
}

export const bit = (value: boolean) => (value ? 1 : 0)

/** The parsed text of a column ...Json. The store wrote it: what does not parse is damage, and a bug. */
export const parsed = <T>(json: string): T => JSON.parse(json) as T
export const parsedOrNull = <T>(json: string | null): T | null => (json === null ? null : parsed<T>(json))
export const jsonOrNull = (value: object | null) => (value === null ? null : JSON.stringify(value))
