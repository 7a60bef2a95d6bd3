import {
  constants,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  unlink,
  type FileHandle
} from 'node:fs/promises'
import { dirname } from 'node:path'
import { crashpoint } from '../common/crashpoint.js'
import { syncDirectory } from '../common/durable-file.js'

/** Whom files on shared storage belong to; null where the process may not give files away (tests). */
export type Owner = { uid: number; gid: number } | null

/** Numbers that every oVirt host has: vdsm and kvm there, drover-agent's and its group here. */
export const ovirtOwner = { uid: 36, gid: 36 } satisfies Owner

export const isCode = (error: unknown, ...codes: string[]) => {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/** What the work returns, or null where the file is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    if (isCode(error, 'ENOENT')) return null
    throw error
  }
}

export async function exists(path: string): Promise<boolean> {
  return (await ifThere(lstat(path))) !== null
}

/** A new file of our own; never one that is there, never through a link. */
export async function createFile(path: string, owner: Owner, mode = 0o660): Promise<void> {
  const file = await open(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    mode
  )
  try {
    await own(file, owner, mode)
  } finally {
    await file.close()
  }
}

// An export that squashes root refuses chown; then the server decides whose the file is, and the access
// check at attaching has told whether that works.
async function own(file: FileHandle, owner: Owner, mode: number): Promise<void> {
  await file.chmod(mode)
  if (owner === null) return
  await file.chown(owner.uid, owner.gid).catch((error: unknown) => {
    if (!isCode(error, 'EPERM')) throw error
  })
}

export async function createDirectory(path: string, owner: Owner): Promise<void> {
  await mkdir(path, { mode: 0o755 }).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error
  })
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    await own(directory, owner, 0o755)
  } finally {
    await directory.close()
  }
}

/** Replaces a small file whole or not at all. `point` names the crash points between its durable acts. */
export async function replaceFile(path: string, content: Buffer, owner: Owner, point: string): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
    0o660
  )
  try {
    await file.writeFile(content)
    await own(file, owner, 0o664)
    await file.sync()
  } finally {
    await file.close()
  }
  await crashpoint(`${point}/rename`)
  await rename(temporary, path)
  await crashpoint(`${point}/sync`)
  await syncDirectory(dirname(path))
}

/** Data and size of a file are on storage. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Names `from` once more as `to`, in place of whatever had that name. */
export async function relink(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
    await unlink(to)
    await link(from, to)
  }
}

export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true })
}

/** Removes a directory with the files directly in it; never deeper, so a strange name cannot lead elsewhere. */
export async function removeFlatDirectory(path: string): Promise<void> {
  for (const name of (await ifThere(readdir(path))) ?? []) await removeFile(`${path}/${name}`)
  await ifThere(rmdir(path))
}
