import { readdir } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import { asFault } from './faults.js'
import { fileLayout } from './file-layout.js'
import { ioTimeoutIn, readPairs } from './file-storage-domain.js'
import { isCode } from './files.js'
import { parseStorageDomainMetadata } from './format/storage-domain-metadata.js'
import { isUuid } from './format/uuid.js'
import type { Discovered } from './verbs.js'

/** The storage domains in a mounted directory. One that cannot be read is left out: it cannot be used either. */
export async function discoverStorageDomains(mount: string): Promise<Discovered[]> {
  const names = await readdir(mount).catch((cause: unknown) => {
    if (isCode(cause, 'ENOENT', 'ENOTDIR'))
      throw new Fault('NOT_FOUND', 'the directory does not exist', { cause })
    throw cause
  })
  const found: Discovered[] = []
  for (const name of names.filter(isUuid)) {
    try {
      const pairs = await readPairs(fileLayout(`${mount}/${name}`))
      const { pvs: _none, ...metadata } = parseStorageDomainMetadata(pairs)
      if (metadata.storageDomainId === name) found.push({ ...metadata, ioTimeout: ioTimeoutIn(pairs) })
    } catch (error) {
      if (!Fault.is(asFault(error), 'NOT_FOUND') && !Fault.is(asFault(error), 'CORRUPT')) throw error
    }
  }
  return found
}
