import { lstat, readdir } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import type { Bytes } from '../common/units.js'
import type { DataProgram } from './data-program.js'
import type { FileLayout } from './file-layout.js'
import { createDirectory, createFile, ifThere, type Owner, removeFile, syncFile } from './files.js'
import { asStorageUser } from './storage-user.js'

// An upload is kept beside the format, in a directory of this host, until it is imported. The bytes go through a
// pipe into a program that writes them: this process never sees them.

const prefix = 'upload-'

export const uploadPath = (layout: FileLayout, sanlockHostId: number, uploadId: string) =>
  `${layout.scratch(sanlockHostId)}/${prefix}${uploadId}`

export async function beginUpload(
  layout: FileLayout,
  hostId: number,
  uploadId: string,
  owner: Owner
): Promise<DataProgram> {
  const path = uploadPath(layout, hostId, uploadId)
  await createDirectory(layout.scratchRoot, owner)
  await createDirectory(layout.scratch(hostId), owner)
  await removeFile(path)
  await createFile(path, owner)
  const words = ['dd', `of=${path}`, 'bs=1M', 'iflag=fullblock', 'conv=notrunc', 'status=none']
  return { argv: [...asStorageUser(), '/usr/bin/env', '-C', '/', ...words], progress: 'none' }
}

export async function finishUpload(
  layout: FileLayout,
  hostId: number,
  uploadId: string,
  size: Bytes
): Promise<void> {
  const path = uploadPath(layout, hostId, uploadId)
  await syncFile(path)
  const found = (await lstat(path)).size
  if (found === size) return
  await removeFile(path)
  throw new Fault('WRONG_STATE', `${found} bytes of ${size} have come`)
}

export async function removeUpload(layout: FileLayout, hostId: number, uploadId: string): Promise<void> {
  await removeFile(uploadPath(layout, hostId, uploadId))
}

/** Uploads of this host that nobody imported: all of them, or those untouched for a day. */
export async function sweepUploads(
  layout: FileLayout,
  hostId: number,
  now: number,
  all: boolean
): Promise<string[]> {
  const removed: string[] = []
  for (const name of (await ifThere(readdir(layout.scratch(hostId)))) ?? []) {
    const path = `${layout.scratch(hostId)}/${name}`
    const stats = await ifThere(lstat(path))
    if (stats === null || !name.startsWith(prefix)) continue
    if (!all && now - stats.mtimeMs < 86_400_000) continue
    await removeFile(path)
    removed.push(name)
  }
  return removed
}
