import { readdir, rmdir } from 'node:fs/promises'
import type { Clock } from '../common/clock.js'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { throwIfAlive } from './attach-storage-domain.js'
import type { FileLayout } from './file-layout.js'
import { ifThere, removeFile, removeFlatDirectory } from './files.js'
import { isUuid } from './format/uuid.js'
import type { StorageDomain } from './storage-domain.js'

/** Removes a detached storage domain that no host uses. */
export async function formatStorageDomain(storageDomain: StorageDomain, clock: Clock, signal: AbortSignal) {
  const { identity } = storageDomain
  const { poolIds } = await identity.metadata()
  if (poolIds.length > 0) {
    throw new Fault('WRONG_STATE', `storage domain ${identity.id} is attached to data center ${poolIds[0]}`)
  }
  await throwIfAlive(storageDomain, clock, signal)
  await storageDomain.onHost.erase(signal)
}

/** Without `metadata` a directory is no storage domain any more; the rest goes after it. */
export async function eraseFiles(layout: FileLayout): Promise<void> {
  await idempotent('storage-domain.format/metadata', () => removeFile(layout.metadata))
  await syncDirectory(layout.special)
  await removeRemains(layout)
}

/** Also finishes what a crash interrupted. Only names of the format are followed, and only two levels deep. */
export async function removeRemains(layout: FileLayout): Promise<void> {
  await crashpoint('storage-domain.format/images')
  for (const name of (await ifThere(readdir(layout.images))) ?? []) {
    if (isUuid(name.slice(-36))) await removeFlatDirectory(`${layout.images}/${name}`)
  }
  await ifThere(rmdir(layout.images))
  await crashpoint('storage-domain.format/scratch')
  for (const name of (await ifThere(readdir(layout.scratchRoot))) ?? []) {
    if (/^\d{1,3}$/.test(name)) await removeFlatDirectory(`${layout.scratchRoot}/${name}`)
  }
  await ifThere(rmdir(layout.scratchRoot))
  await crashpoint('storage-domain.format/special')
  await removeFlatDirectory(layout.special)
  await ifThere(rmdir(layout.directory))
  await crashpoint('storage-domain.format/done')
}
