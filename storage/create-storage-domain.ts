import { access, constants, readdir, stat, truncate } from 'node:fs/promises'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { bytes, MiB, type Seconds } from '../common/units.js'
import { writeDirect } from './direct-io.js'
import { fileLayout, type FileLayout, mailboxSize } from './file-layout.js'
import { ioTimeoutIn, readPairs, type Tools, writePairs } from './file-storage-domain.js'
import {
  createDirectory,
  createFile,
  exists,
  ifThere,
  isCode,
  ovirtOwner,
  type Owner,
  removeFile
} from './files.js'
import { alignmentFor, managerLease, managerLeaseOffset } from './format/leases-layout.js'
import {
  parseStorageDomainMetadata,
  type SectorSize,
  type StorageDomainMetadata,
  storageDomainPairs,
  type StorageKind
} from './format/storage-domain-metadata.js'
import { isUuid } from './format/uuid.js'
import { formatWrites } from './format/xleases.js'
import type { Geometry } from './storage-domain.js'

export type CreateStorageDomain = {
  storageDomainId: string
  /** The mounted directory that will hold it. */
  mount: string
  kind: Extract<StorageKind, 'nfs' | 'posix' | 'local'>
  remotePath: string
  description: string
  dataCenterId: string | null
  ioTimeout: Seconds
  /** Null takes what the storage has. */
  sectorSize: SectorSize | null
}

/**
 * Everything is made before `metadata` is renamed into place: that makes it a storage domain. What a crash
 * left is made again by the same request, and looks like no storage domain to everybody else.
 */
export async function createStorageDomain(
  request: CreateStorageDomain,
  tools: Tools,
  signal: AbortSignal
): Promise<StorageDomainMetadata> {
  const layout = fileLayout(`${request.mount}/${request.storageDomainId}`)
  const known = await alreadyThere(layout, request)
  if (known !== null) return known
  if (request.kind === 'nfs' && tools.owner !== null) await throwIfShut(request.mount)
  await throwIfTaken(request)
  await makeTree(layout, tools.owner)

  const sectorSize = await sectorSizeOf(layout, request)
  const geometry: Geometry = { sectorSize, alignment: alignmentFor(sectorSize, 250) }
  const metadata = describe(request, geometry)
  if (request.kind !== 'local') {
    await idempotent('storage-domain.create/xleases', () =>
      formatIndex(layout, request.storageDomainId, geometry, tools)
    )
    await idempotent('storage-domain.create/lockspace', () =>
      writeLeases(layout, request, geometry, tools, signal)
    )
  }
  await idempotent('storage-domain.create/publish', () => {
    const pairs = storageDomainPairs(metadata).set('IOOPTIMEOUTSEC', String(request.ioTimeout))
    return writePairs(layout, pairs, tools.owner, 'storage-domain.create/publish')
  })
  await syncDirectory(request.mount)
  await crashpoint('storage-domain.create/done')
  tools.log.info({ storageDomain: request.storageDomainId }, 'storage domain created')
  return metadata
}

async function alreadyThere(
  layout: FileLayout,
  request: CreateStorageDomain
): Promise<StorageDomainMetadata | null> {
  if (!(await exists(layout.metadata))) return null
  const pairs = await readPairs(layout)
  const metadata = parseStorageDomainMetadata(pairs)
  const same =
    metadata.storageDomainId === request.storageDomainId &&
    metadata.description === request.description &&
    ioTimeoutIn(pairs) === request.ioTimeout
  if (same) return metadata
  throw new Fault('ALREADY_EXISTS', `storage domain ${request.storageDomainId} exists with other properties`)
}

/** QEMU and sanlock have users of their own: what all three share is the group of the files' owner. */
async function throwIfShut(mount: string): Promise<void> {
  const { mode, gid } = await stat(mount)
  const passes = (mode & 0o005) === 0o005 || (gid === ovirtOwner.gid && (mode & 0o050) === 0o050)
  const writes = await access(mount, constants.W_OK).then(
    () => true,
    () => false
  )
  if (passes && writes) return
  const { uid, gid: group } = ovirtOwner
  const wrong = writes
    ? `has mode 0${(mode & 0o777).toString(8)}: sanlock and QEMU`
    : `may not be written: user ${uid}`
  throw new Fault(
    'WRONG_STATE',
    `the exported directory ${wrong} must be let in (on the server: chown ${uid}:${group} and chmod 0755)`
  )
}

/** One storage domain a mounted directory: oVirt looks for `*\/dom_md` and takes the first. */
async function throwIfTaken({ mount, storageDomainId }: CreateStorageDomain): Promise<void> {
  const names = await readdir(mount).catch((cause: unknown) => {
    if (isCode(cause, 'ENOENT', 'ENOTDIR'))
      throw new Fault('NOT_FOUND', 'the directory does not exist', { cause })
    throw cause
  })
  for (const name of names) {
    if (name === storageDomainId || !(await exists(`${mount}/${name}/dom_md/metadata`))) continue
    throw new Fault(
      'ALREADY_EXISTS',
      `the directory already holds storage domain ${isUuid(name) ? name : '(unnamed)'}`
    )
  }
}

async function makeTree(layout: FileLayout, owner: Owner): Promise<void> {
  await createDirectory(layout.directory, owner)
  await crashpoint('storage-domain.create/special')
  await createDirectory(layout.special, owner)
  for (const path of [layout.ids, layout.inbox, layout.outbox, layout.leases, layout.xleases]) {
    await crashpoint('storage-domain.create/special-file')
    if (!(await exists(path))) await createFile(path, owner)
  }
  await truncate(layout.inbox, mailboxSize)
  await truncate(layout.outbox, mailboxSize)
  await crashpoint('storage-domain.create/images')
  await createDirectory(layout.images, owner)
  await syncDirectory(layout.special)
  await syncDirectory(layout.directory)
}

/** A device of 4096-byte sectors refuses to write 512. Where the file system hides it, 512 is right. */
async function sectorSizeOf(
  layout: FileLayout,
  { sectorSize, kind }: CreateStorageDomain
): Promise<SectorSize> {
  const probe = `${layout.special}/sector-size`
  await removeFile(probe)
  await createFile(probe, null)
  try {
    const found = await writeDirect(probe, bytes(0), Buffer.alloc(512)).then(
      (): SectorSize => 512,
      (error: unknown): SectorSize => {
        if (isCode(error, 'EINVAL')) return 4096
        throw error
      }
    )
    if (sectorSize !== null && sectorSize !== found) {
      throw new Fault('WRONG_STATE', `the storage has sectors of ${found} bytes, not ${sectorSize}`)
    }
    if (found === 4096 && kind !== 'local') {
      throw new Fault('UNSUPPORTED', 'sectors of 4096 bytes are possible on local storage domains only')
    }
    return found
  } finally {
    await ifThere(removeFile(probe))
  }
}

function describe(request: CreateStorageDomain, geometry: Geometry): StorageDomainMetadata {
  return {
    ...geometry,
    storageDomainId: request.storageDomainId,
    version: 5,
    kind: request.kind,
    class: 'data',
    description: request.description,
    role: 'regular',
    poolIds: request.dataCenterId === null ? [] : [request.dataCenterId],
    lockPolicy: '',
    remotePath: request.remotePath,
    vgUuid: null,
    pvs: new Map()
  }
}

async function formatIndex(layout: FileLayout, lockspace: string, geometry: Geometry, { clock }: Tools) {
  const header = { lockspace, formattedAt: Math.floor(clock.wall() / 1000) }
  for (const { offset, block } of formatWrites(header, geometry.alignment, geometry.sectorSize)) {
    await writeDirect(layout.xleases, offset, block)
    await crashpoint('storage-domain.create/xleases-block')
  }
}

async function writeLeases(
  layout: FileLayout,
  { storageDomainId: lockspace, ioTimeout }: CreateStorageDomain,
  geometry: Geometry,
  { sanlock }: Tools,
  signal: AbortSignal
) {
  const ids = { name: lockspace, sanlockHostId: 0, path: layout.ids }
  await sanlock.writeLockspace(ids, ioTimeout, geometry, signal)
  await crashpoint('storage-domain.create/manager-lease')
  const offset = managerLeaseOffset(geometry.alignment)
  await sanlock.writeResource(
    { lockspace, name: managerLease, path: layout.leases, offset },
    geometry,
    signal
  )
}

export const smallestCapacity = MiB(1)
