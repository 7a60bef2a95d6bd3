import { randomBytes } from 'node:crypto'
import { readIfThere, writeDurably } from '../common/durable-file.js'
import type { Logger } from '../common/log.js'
import { sql } from './store/query.js'
import type { Store } from './store/store.js'

/** The key that seals secrets in the store. It lies beside the store and never in it, nor in its backups. */
export async function secretsKey(path: string, store: Store, log: Logger): Promise<Buffer> {
  const known = await readIfThere(path)
  if (known !== null) {
    const key = Buffer.from(known.trim(), 'base64')
    if (key.length !== 32) throw new Error(`${path} does not hold a key of 32 bytes`)
    return key
  }
  if (store.read.first(sql.selectFrom('secret').select('owner').limit(1))) {
    log.warn({ path }, 'the key of the secrets is missing: they are lost and must be entered again')
  }
  const key = randomBytes(32)
  await writeDurably(path, `${key.toString('base64')}\n`)
  return key
}
