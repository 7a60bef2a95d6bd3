import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { Secret } from '../../common/secret.js'
import { sql, type Reader, type Tx } from './query.js'

/**
 * Secrets in the store, sealed with AES-256-GCM under a key that is not in it: neither the file nor a backup
 * of it tells them. Without the key they are gone, and everything else works.
 */
export class Secrets {
  readonly #key: Buffer
  readonly #keyId: string

  constructor(key: Buffer) {
    this.#key = key
    this.#keyId = createHash('sha256').update(key).digest('hex').slice(0, 16)
  }

  put(tx: Tx, owner: string, name: string, secret: Secret): void {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(placeOf(owner, name))
    const text = Buffer.concat([cipher.update(secret.reveal(), 'utf8'), cipher.final(), cipher.getAuthTag()])
    const sealed = { keyId: this.#keyId, nonce: nonce.toString('base64'), sealed: text.toString('base64') }
    tx.run(
      sql
        .insertInto('secret')
        .values({ owner, name, ...sealed })
        .onConflict(conflict => conflict.columns(['owner', 'name']).doUpdateSet(sealed))
    )
  }

  /** Null where there is none, or none that this key opens. */
  get(reader: Reader, owner: string, name: string): Secret | null {
    const row = reader.first(
      sql.selectFrom('secret').selectAll().where('owner', '=', owner).where('name', '=', name)
    )
    if (!row || row.keyId !== this.#keyId) return null
    const text = Buffer.from(row.sealed, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', this.#key, Buffer.from(row.nonce, 'base64'))
      .setAAD(placeOf(owner, name))
      .setAuthTag(text.subarray(-16))
    return new Secret(
      Buffer.concat([decipher.update(text.subarray(0, -16)), decipher.final()]).toString('utf8')
    )
  }
}

export function deleteSecrets(tx: Tx, owner: string): void {
  tx.run(sql.deleteFrom('secret').where('owner', '=', owner))
}

/** Owners like "host/ID/0", below one that goes as a whole. */
export function deleteSecretsBelow(tx: Tx, owner: string): void {
  tx.run(sql.deleteFrom('secret').where('owner', 'like', `${owner}/%`))
}

const placeOf = (owner: string, name: string) => Buffer.from(`secret/${owner}/${name}`)
