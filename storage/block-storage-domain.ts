import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { bytes } from '../common/units.js'
import { auditGroup } from './block-audit.js'
import { nameDevices } from './block-devices.js'
import { BlockGroup, type Group } from './block-group.js'
import { BlockLinks } from './block-links.js'
import { BlockOnHost } from './block-on-host.js'
import { BlockVolumes } from './block-volumes.js'
import { touchDirect } from './direct-io.js'
import { ioTimeoutIn, throwIfUnusable, timed, type Tools } from './file-storage-domain.js'
import { metadataTagChange, readMetadataTags, vgState } from './format/block-tags.js'
import { managerLease, managerLeaseOffset, volumeLeaseOffset } from './format/leases-layout.js'
import type { MetadataPairs } from './format/metadata-pairs.js'
import {
  parseStorageDomainMetadata,
  type StorageDomainMetadata,
  withChanges
} from './format/storage-domain-metadata.js'
import { type LeasePlaces, StorageLeases } from './leases.js'
import { ManagerLease } from './manager-lease.js'
import { forgetDevices } from './block-remove-device.js'
import { runPaths } from './prepare-image.js'
import type { Geometry, Health, Identity, SpecialPaths, StorageDomain } from './storage-domain.js'

/** Special volumes that are read and written while the storage domain is open; `master` is oVirt's alone. */
export const specialInUse = ['metadata', 'ids', 'leases', 'xleases', 'inbox', 'outbox'] as const

/** A VG as a storage domain. Opening reads its tags, refuses what is not ours to use, and maps the special volumes. */
export class BlockStorageDomain implements StorageDomain {
  readonly identity: Identity
  readonly volumes: BlockVolumes
  readonly leases: StorageLeases
  readonly health: Health
  readonly special: SpecialPaths
  readonly manager: ManagerLease
  readonly onHost: BlockOnHost
  readonly group: BlockGroup

  private constructor(
    group: BlockGroup,
    special: SpecialPaths,
    pairs: MetadataPairs,
    metadata: StorageDomainMetadata,
    tools: Tools
  ) {
    const { storageDomainId: id, kind, sectorSize, alignment } = metadata
    const geometry: Geometry = { sectorSize, alignment }
    const ioTimeout = ioTimeoutIn(pairs)
    const { sanlock, clock, log, run, runDirectory } = tools
    const sdm = {
      lockspace: id,
      name: managerLease,
      path: special.leases,
      offset: managerLeaseOffset(alignment)
    }
    const links = new BlockLinks(group, runPaths(runDirectory, id), `${runDirectory}/work/${id}`)
    this.group = group
    this.special = special
    this.manager = new ManagerLease(sanlock, sdm, clock, log)
    this.volumes = new BlockVolumes(group, links, tools, async () => [
      ...(await nameDevices(this)),
      ...(await forgetDevices(this))
    ])
    this.leases = new StorageLeases(
      { storageDomainId: id, shared: true, geometry, ioTimeout, growing: false },
      this.#leasePlaces(geometry),
      sanlock,
      this.manager
    )
    this.onHost = new BlockOnHost(group, links, runPaths(runDirectory, id), () => auditGroup(this))
    this.health = { latency: () => timed(() => touchDirect(special.metadata)), space: () => space(group) }
    this.identity = {
      id,
      kind,
      shared: true,
      geometry,
      ioTimeout,
      metadata: async () => parseStorageDomainMetadata(readMetadataTags((await group.read()).tags)),
      change: async (changes, point, removed = []) => {
        const { tags } = await group.read()
        const pairs = withChanges(readMetadataTags(tags), changes)
        for (const key of removed) pairs.delete(key)
        const { remove, add } = metadataTagChange(tags, pairs)
        await crashpoint(`${point}/tags`)
        if (remove.length + add.length === 0) return
        await group.change({ kind: 'changeVgTags', vg: group.vg, remove, add }, never)
      }
    }
    group.tenure = () => this.manager.tenure
    group.mayChange = () => sanlock.mode === 'direct' || this.manager.isHeld
  }

  /** `versions`: 4 as well only to convert it. */
  static async open(
    id: string,
    devices: readonly string[],
    tools: Tools,
    versions = [5]
  ): Promise<BlockStorageDomain> {
    const group = await BlockGroup.on(id, devices, tools.runDirectory, tools)
    const pairs = pairsOf(id, await group.find())
    const metadata = parseStorageDomainMetadata(pairs)
    throwIfUnusable(metadata, id, versions)
    if (metadata.sectorSize !== 512) {
      throw new Fault('UNSUPPORTED', `block storage domain ${id} has sectors of ${metadata.sectorSize} bytes`)
    }
    await group.activate(specialInUse, never)
    return new BlockStorageDomain(group, await specialPaths(group), pairs, metadata, tools)
  }

  #leasePlaces({ alignment }: Geometry): LeasePlaces {
    const { ids, leases, xleases } = this.special
    return {
      ids,
      leases,
      xleases,
      volumeLease: async ({ volumeId }) => {
        const slot = this.volumes.slotOf(volumeId, await this.group.read())
        return { path: leases, offset: volumeLeaseOffset(slot, alignment) }
      },
      xleasesSize: async () => (await this.group.volume('xleases'))?.size ?? bytes(0)
    }
  }
}

const never = new AbortController().signal

/** The metadata of a VG that is a storage domain; anything else is none. */
export function pairsOf(id: string, group: Group | null): MetadataPairs {
  const pairs = group !== null && vgState(group.tags) === 'ready' ? readMetadataTags(group.tags) : null
  if (pairs === null || pairs.size === 0) {
    throw new Fault('NOT_FOUND', `no storage domain ${id} on the devices given`)
  }
  return pairs
}

async function specialPaths(group: BlockGroup): Promise<SpecialPaths> {
  const entries = await Promise.all(specialInUse.map(async name => [name, await group.device(name)] as const))
  return Object.fromEntries(entries) as SpecialPaths
}

async function space(group: BlockGroup) {
  const { extents, freeExtents, extentSize, reading } = await group.read()
  if (reading.missing.length > 0) {
    throw new Fault('STORAGE_DOMAIN_UNRESPONSIVE', `${reading.missing.length} physical volumes are missing`)
  }
  // LVM writes a new copy beside the old one: each has half of the area.
  const metadataPercent = Math.ceil((200 * reading.textSize) / reading.areaSize)
  return { total: bytes(extents * extentSize), free: bytes(freeExtents * extentSize), metadataPercent }
}
