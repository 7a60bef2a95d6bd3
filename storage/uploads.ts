import { lstat, readdir, rename, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crashpoint } from '../common/crashpoint.js'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { type Bytes, MiB } from '../common/units.js'
import type { DataProgram } from './data-program.js'
import type { FileLayout } from './file-layout.js'
import { createDirectory, createFile, ifThere, type Owner, removeFile, syncFile } from './files.js'
import { asStorageUser } from './storage-user.js'

// An upload is kept until it is imported: beside the format in a storage domain of files, on the host's own disk for
// one on devices. The bytes go through a pipe into a program that writes them: this process never sees them. The
// file has its name once it is whole, so what a crash cut short tells itself apart.

const prefix = 'upload-'
const unfinished = '.part'

export type UploadPlace = {
  directory: string
  /** What the directory may lie on too: that much stays free. */
  keepsFree: Bytes
}

/** A directory of this host beside the format. */
export const uploadsBeside = (layout: FileLayout, sanlockHostId: number): UploadPlace => ({
  directory: layout.scratch(sanlockHostId),
  keepsFree: MiB(0)
})

/** A directory on this host's own disk, which other things need too. */
export const uploadsOnHost = (uploadDirectory: string, storageDomainId: string): UploadPlace => ({
  directory: `${uploadDirectory}/${storageDomainId}`,
  keepsFree: MiB(512)
})

export const uploadPath = ({ directory }: UploadPlace, uploadId: string) =>
  `${directory}/${prefix}${uploadId}`
const partialPath = (place: UploadPlace, uploadId: string) => uploadPath(place, uploadId) + unfinished

export async function beginUpload(
  place: UploadPlace,
  uploadId: string,
  size: Bytes,
  owner: Owner
): Promise<DataProgram> {
  await createDirectory(dirname(place.directory), owner)
  await createDirectory(place.directory, owner)
  await removeUpload(place, uploadId)
  await throwIfNoRoom(place, size)
  const path = partialPath(place, uploadId)
  await createFile(path, owner)
  await crashpoint('upload/begun')
  const words = ['dd', `of=${path}`, 'bs=1M', 'iflag=fullblock', 'conv=notrunc', 'status=none']
  return { argv: [...asStorageUser(), '/usr/bin/env', '-C', '/', ...words], progress: 'none' }
}

async function throwIfNoRoom({ directory, keepsFree }: UploadPlace, size: Bytes): Promise<void> {
  const { bavail, bsize } = await statfs(directory)
  const free = bavail * bsize - keepsFree
  if (size <= free) return
  throw new Fault(
    'NO_SPACE',
    `an upload of ${size} bytes waits in ${directory}, where ${Math.max(0, free)} are free`,
    {
      facts: { directory, free: String(Math.max(0, free)) }
    }
  )
}

export async function finishUpload(place: UploadPlace, uploadId: string, size: Bytes): Promise<void> {
  const path = partialPath(place, uploadId)
  await syncFile(path)
  const found = (await lstat(path)).size
  if (found !== size) {
    await removeFile(path)
    throw new Fault('WRONG_STATE', `${found} bytes of ${size} have come`)
  }
  await crashpoint('upload/whole')
  await rename(path, uploadPath(place, uploadId))
  await syncDirectory(place.directory)
  await crashpoint('upload/named')
}

export async function removeUpload(place: UploadPlace, uploadId: string): Promise<void> {
  await removeFile(partialPath(place, uploadId))
  await removeFile(uploadPath(place, uploadId))
}

/** Uploads of this host that were cut short, and those that nobody imported: all of them, or untouched for a day. */
export async function sweepUploads({ directory }: UploadPlace, now: number, all: boolean): Promise<string[]> {
  const removed: string[] = []
  for (const name of (await ifThere(readdir(directory))) ?? []) {
    const path = `${directory}/${name}`
    const stats = await ifThere(lstat(path))
    if (stats === null || !name.startsWith(prefix)) continue
    if (!all && !name.endsWith(unfinished) && now - stats.mtimeMs < 86_400_000) continue
    await removeFile(path)
    removed.push(name)
  }
  return removed
}
