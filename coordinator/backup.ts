import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { exists } from '../common/exists.js'
import type { Store } from './store/store.js'

export type Backup = { path: string; size: number; sha256: string }

/** A copy of the store as it is now. It appears under its name when it is whole and on disk. */
export async function writeBackup(store: Store, folder: string, name: string): Promise<Backup> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = `${folder}/${name}`
  if (await exists(path)) throw new Fault('ALREADY_EXISTS', `a backup ${name} exists`)
  const unfinished = `${path}.unfinished`
  await rm(unfinished, { force: true })
  try {
    await store.backup(unfinished)
    const file = await open(unfinished, 'r+')
    await file.chmod(0o600)
    await file.sync()
    await file.close()
    await rename(unfinished, path)
    await syncDirectory(folder)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  return describe(path)
}

export async function describe(path: string): Promise<Backup> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return { path, size: (await stat(path)).size, sha256: hash.digest('hex') }
}
