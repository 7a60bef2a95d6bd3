import { lstat, statfs } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes, seconds, type Seconds } from '../common/units.js'
import { readDirect, touchDirect } from './direct-io.js'
import { fileLayout, type FileLayout } from './file-layout.js'
import { FileVolumes } from './file-volumes.js'
import { ifThere, type Owner, replaceFile } from './files.js'
import { managerLease, managerLeaseOffset } from './format/leases-layout.js'
import { type MetadataPairs, readMetadataFile, writeMetadataFile } from './format/metadata-pairs.js'
import {
  parseStorageDomainMetadata,
  type StorageDomainMetadata,
  withChanges
} from './format/storage-domain-metadata.js'
import { isUuid } from './format/uuid.js'
import { FilesOnHost } from './files-on-host.js'
import { type LeasePlaces, StorageLeases } from './leases.js'
import { runPaths } from './prepare-image.js'
import { atStart } from './sanlock.js'
import { ManagerLease } from './manager-lease.js'
import type { Sanlock } from './sanlock.js'
import type { Geometry, Health, Identity, OnHost, SpecialPaths, StorageDomain } from './storage-domain.js'

/** What a storage domain is built from. */
export type Tools = {
  run: Run
  sanlock: Sanlock
  clock: Clock
  log: Logger
  owner: Owner
  /** Where links are made: /run/drover. */
  runDirectory: string
  /** What a new thin volume on block storage begins with; absent: what oVirt gives it. */
  thinInitial?: Bytes
}

const largestMetadata = 64 * 1024

/** A directory as a storage domain. Opening reads its metadata and refuses what is not ours to use. */
export class FileStorageDomain implements StorageDomain {
  readonly identity: Identity
  readonly volumes: FileVolumes
  readonly leases: StorageLeases
  readonly special: SpecialPaths
  readonly onHost: OnHost
  readonly health: Health
  readonly layout: FileLayout
  readonly manager: ManagerLease
  /** Whom new files belong to. */
  readonly owner: Owner

  private constructor(layout: FileLayout, metadata: StorageDomainMetadata, ioTimeout: Seconds, tools: Tools) {
    const { storageDomainId: id, kind, sectorSize, alignment } = metadata
    const geometry: Geometry = { sectorSize, alignment }
    const shared = kind !== 'local'
    const sdm = {
      lockspace: id,
      name: managerLease,
      path: layout.leases,
      offset: managerLeaseOffset(alignment)
    }
    this.layout = layout
    this.owner = tools.owner
    this.manager = new ManagerLease(tools.sanlock, sdm, tools.clock, tools.log)
    this.volumes = new FileVolumes(layout, tools.owner, shared, tools.run)
    this.leases = new StorageLeases(
      { storageDomainId: id, shared, geometry, ioTimeout, growing: true },
      leasePlaces(layout),
      tools.sanlock,
      this.manager
    )
    this.special = layout
    this.onHost = new FilesOnHost(layout, runPaths(tools.runDirectory, id), shared)
    this.health = {
      latency: () => timed(() => touchDirect(layout.metadata)),
      space: () => space(layout.directory)
    }
    this.identity = {
      id,
      kind,
      shared,
      geometry,
      ioTimeout,
      metadata: async () => parseStorageDomainMetadata(await readPairs(layout)),
      change: async (changes, point, removed = []) => {
        const pairs = withChanges(await readPairs(layout), changes)
        for (const key of removed) pairs.delete(key)
        await writePairs(layout, pairs, tools.owner, point)
      }
    }
  }

  /** `versions`: 4 as well only to convert it. */
  static async open(directory: string, tools: Tools, versions = [5]): Promise<FileStorageDomain> {
    const layout = fileLayout(directory)
    const pairs = await readPairs(layout)
    const metadata = parseStorageDomainMetadata(pairs)
    throwIfUnusable(metadata, basename(directory), versions)
    return new FileStorageDomain(layout, metadata, ioTimeoutIn(pairs), tools)
  }
}

function leasePlaces({ ids, leases, xleases, lease }: FileLayout): LeasePlaces {
  return {
    ids,
    leases,
    xleases,
    volumeLease: async ({ imageId, volumeId }) => ({ path: lease(imageId, volumeId), offset: atStart }),
    xleasesSize: async () => bytes((await lstat(xleases)).size)
  }
}

export function throwIfUnusable(
  { storageDomainId, version, class: kind }: StorageDomainMetadata,
  name: string,
  versions: readonly number[]
): void {
  if (storageDomainId !== name || !isUuid(name)) {
    throw new Fault('CORRUPT', `storage domain ${name} holds metadata of ${storageDomainId}`)
  }
  if (!versions.includes(version)) {
    throw new Fault('WRONG_STATE', `storage domain ${name} has format ${version}; 5 can be used`, {
      facts: { version: String(version) }
    })
  }
  if (kind !== 'data') throw new Fault('UNSUPPORTED', `storage domain ${name} is of class ${kind}, not data`)
}

export async function readPairs(layout: FileLayout): Promise<MetadataPairs> {
  const text = await ifThere(readDirect(layout.metadata, 0, largestMetadata))
  const pairs = text === null ? null : readMetadataFile(text)
  if (pairs === null || pairs.size === 0) {
    throw new Fault('NOT_FOUND', `no storage domain metadata in ${basename(layout.directory)}`)
  }
  return pairs
}

export async function writePairs(layout: FileLayout, pairs: MetadataPairs, owner: Owner, point: string) {
  await replaceFile(layout.metadata, writeMetadataFile(pairs), owner, point)
}

/** The key is a relic that oVirt always writes as 10; here it is the io timeout of the lockspace. */
export function ioTimeoutIn(pairs: MetadataPairs): Seconds {
  const value = Number(pairs.get('IOOPTIMEOUTSEC'))
  return seconds(Number.isInteger(value) && value >= 1 && value <= 40 ? value : 10)
}

export async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

async function space(directory: string) {
  const { bsize, blocks, bavail } = await statfs(directory)
  return { total: bytes(blocks * bsize), free: bytes(bavail * bsize), metadataPercent: 0 }
}
