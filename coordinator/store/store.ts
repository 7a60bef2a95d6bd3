import Database from 'better-sqlite3'
import { crashpoint } from '../../common/crashpoint.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { changeTracking, type WatchedKind } from './change-tracking.js'
import { migrations } from './migrations.js'
import { Queries, type Reader, type Tx } from './query.js'

/** How a second coordinator on the same file is refused. */
export const storeIsInUse = 'another coordinator uses this store'

export type Change = { kind: WatchedKind; id: string }
export type Listener = (changes: readonly Change[]) => void

/**
 * The coordinator's memory: one SQLite file, one process, one connection. Reads are plain calls; everything
 * that writes is one synchronous function given to `transaction`, and durable when that returns.
 */
export class Store {
  readonly path: string
  readonly #db: Database.Database
  readonly #queries: Queries
  readonly #log: Logger
  readonly #listeners = new Set<Listener>()
  #isFull = false

  private constructor(path: string, db: Database.Database, log: Logger) {
    this.path = path
    this.#db = db
    this.#queries = new Queries(db)
    this.#log = log
  }

  /** Opens the file, makes or migrates its tables, and checks it where the last life did not end well. */
  static async open(path: string, log: Logger): Promise<Store> {
    const db = lockedDatabase(path)
    try {
      const { isClean } = await prepare(db, log)
      if (!isClean) checkIntegrity(db, path, log)
      markClean(db, false)
      for (const statement of changeTracking) db.exec(statement)
      return new Store(path, db, log)
    } catch (error) {
      db.close()
      throw storeFault(error)
    }
  }

  /** For reading outside of a transaction: what was committed last. */
  get read(): Reader {
    return this.#queries
  }

  /** Whether the last write failed for want of space. It is tried again with every write. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** All or nothing. The function must not wait for anything. */
  transaction<T>(work: (tx: Tx) => T extends Promise<unknown> ? never : T): T {
    if (this.#db.inTransaction) throw new TypeError('a transaction was begun inside another')
    let result: T
    let changes: Change[] = []
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      result = work(this.#queries)
      if (result instanceof Promise) throw new TypeError('a transaction does not wait')
      changes = this.#takeChanges()
      this.#db.exec('COMMIT')
    } catch (error) {
      this.#rollBack()
      throw this.#failed(error)
    }
    if (this.#isFull) this.#log.info('the store can be written again')
    this.#isFull = false
    if (changes.length > 0) this.#tell(changes)
    return result
  }

  /** Calls back after each transaction that changed something; the result ends that. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Copies the store as it is now into another file, page by page, while it is in use. */
  async backup(path: string): Promise<void> {
    await this.#db.backup(path)
  }

  size(): number {
    const page = this.#db.pragma('page_size', { simple: true }) as number
    return page * (this.#db.pragma('page_count', { simple: true }) as number)
  }

  /** "ok", or what is wrong with the file. */
  integrity(): string[] {
    return problemsOf(this.#db)
  }

  close(): void {
    if (!this.#db.open) return
    try {
      markClean(this.#db, true)
      this.#db.pragma('wal_checkpoint(TRUNCATE)')
    } catch (error) {
      this.#log.warn({ err: error }, 'the store was not closed cleanly')
    }
    this.#db.close()
  }

  #takeChanges(): Change[] {
    const changes = this.#db.prepare('SELECT kind, id FROM temp.changed').all() as Change[]
    if (changes.length > 0) this.#db.exec('DELETE FROM temp.changed')
    return changes
  }

  #rollBack(): void {
    // SQLite has done it already where the disk is full.
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
  }

  #failed(error: unknown): unknown {
    const fault = storeFault(error)
    if (Fault.is(fault, 'STORE_FULL') && !this.#isFull) {
      this.#isFull = true
      this.#log.error({ err: error }, 'the store cannot be written')
    }
    return fault
  }

  #tell(changes: readonly Change[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(changes)
      } catch (error) {
        this.#log.error({ err: error }, 'a listener of the store failed')
      }
    }
  }
}

/** One process at a time: the lock is the file's own, and ends with the process that holds it. */
function lockedDatabase(path: string): Database.Database {
  const db = new Database(path, { timeout: 0 })
  try {
    db.pragma('locking_mode = EXCLUSIVE')
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    db.pragma('temp_store = MEMORY')
    db.pragma('trusted_schema = OFF')
    db.exec('BEGIN IMMEDIATE; COMMIT')
    return db
  } catch (error) {
    db.close()
    throw storeFault(error, path)
  }
}

/** Brings the tables to this version, one migration a transaction: a crash leaves the version before it. */
async function prepare(db: Database.Database, log: Logger): Promise<{ isClean: boolean }> {
  const found = db.pragma('user_version', { simple: true }) as number
  if (found > migrations.length) {
    throw new Fault(
      'WRONG_STATE',
      `the store is of version ${found}; this program knows ${migrations.length}`
    )
  }
  const isClean = found === 0 || wasClosed(db)
  for (const [index, statements] of migrations.entries()) {
    if (index < found) continue
    await migrate(db, index + 1, statements)
    log.info({ version: index + 1 }, 'store migrated')
  }
  return { isClean }
}

async function migrate(db: Database.Database, version: number, statements: readonly string[]): Promise<void> {
  db.exec('BEGIN IMMEDIATE')
  try {
    for (const [index, statement] of statements.entries()) {
      await crashpoint(`store.migrate.${version}.${index}`)
      db.exec(statement)
    }
    await crashpoint(`store.migrate.${version}.version`)
    db.pragma(`user_version = ${version}`)
    await crashpoint(`store.migrate.${version}.commit`)
    db.exec('COMMIT')
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK')
    throw error
  }
}

const wasClosed = (db: Database.Database) =>
  (db.prepare("SELECT value FROM setting WHERE name = 'isClean'").pluck().get() ?? '0') === '1'

function markClean(db: Database.Database, isClean: boolean): void {
  db.prepare(
    "INSERT INTO setting VALUES ('isClean', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
  ).run(isClean ? '1' : '0')
}

function checkIntegrity(db: Database.Database, path: string, log: Logger): void {
  const problems = problemsOf(db)
  if (problems.length > 0) {
    throw new Fault('CORRUPT', `the store is damaged: ${problems.slice(0, 5).join('; ')}`, {
      facts: { path }
    })
  }
  log.info('the store was not closed in its last life; it is whole')
}

function problemsOf(db: Database.Database): string[] {
  const rows = db.pragma('integrity_check(20)') as Array<{ integrity_check: string }>
  const dangling = db.pragma('foreign_key_check') as Array<{ table: string; parent: string }>
  return [
    ...rows.map(row => row.integrity_check).filter(text => text !== 'ok'),
    ...dangling.map(({ table, parent }) => `a row of ${table} names no row of ${parent}`)
  ]
}

/** Whether SQLite could not write: no space, or the disk failed. */
export const isFull = (error: unknown) =>
  error instanceof Database.SqliteError && /^SQLITE_(FULL|IOERR.*|READONLY)$/.test(error.code)

/** What SQLite says, as a fault where it is one. */
function storeFault(error: unknown, path = ''): unknown {
  if (!(error instanceof Database.SqliteError)) return error
  const { code } = error
  if (isFull(error)) {
    return new Fault('STORE_FULL', 'the store of the coordinator cannot be written', { cause: error })
  }
  if (code.startsWith('SQLITE_BUSY')) {
    return new Fault('WRONG_STATE', storeIsInUse, { cause: error, facts: { path } })
  }
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') {
    return new Fault('CORRUPT', 'the store is damaged', { cause: error, facts: { path } })
  }
  return error
}
