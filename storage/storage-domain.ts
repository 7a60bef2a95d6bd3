import type { Bytes, Seconds } from '../common/units.js'
import type { ImageFile } from './image-inspector/image-file.js'
import type { ManagerLease } from './manager-lease.js'
import type { SectorSize, StorageDomainMetadata, StorageKind } from './format/storage-domain-metadata.js'
import type { VolumeFormat, VolumeMetadata } from './format/volume-metadata.js'
import type { AuditFinding } from './audit-storage-domain.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'

// What every storage domain can do, whether it is a directory or a VG. The plots (create-volume.ts and its
// neighbours) are written against these types only.

/** Where a volume is: its own image, or one that shares it because it was made from a template. */
export type Place = { imageId: string; volumeId: string }

/** Room and sector of one sanlock lease. */
export type Geometry = { sectorSize: SectorSize; alignment: Bytes }

export type Identity = {
  readonly id: string
  readonly kind: StorageKind
  /** Whether other hosts may use it too. If not, there are no leases. */
  readonly shared: boolean
  readonly geometry: Geometry
  readonly ioTimeout: Seconds
  metadata(): Promise<StorageDomainMetadata>
  /** `removed`: keys of older formats that go with it. */
  change(changes: Partial<StorageDomainMetadata>, point: string, removed?: readonly string[]): Promise<void>
}

export type NewVolume = Place & {
  /** Null for a base. */
  parent: Place | null
  metadata: VolumeMetadata
  /** Room that the data of a thin volume needs at once, where it does not grow by itself. */
  initialSize?: Bytes | undefined
}

export type Usage = { physical: Bytes; allocated: Bytes }
export type Removed = { imageId: string; wipe: boolean }

export type Volumes = {
  /** Whether volumes are block devices, which hold old data and do not grow by themselves. */
  readonly onBlock: boolean
  imageIds(): Promise<string[]>
  /** Published volumes of an image, shared ones included. Null where there is no such image. */
  volumeIds(imageId: string): Promise<string[] | null>
  /** The record of a volume; for a shared one, that of its own image. */
  read(place: Place): Promise<VolumeMetadata>
  /** One atomic write of the whole record. */
  write(place: Place, metadata: VolumeMetadata, point: string): Promise<void>
  path(place: Place): string
  /** Makes the data of volumes reachable at their paths, on this host, until `letGo` of their image. */
  reach(places: readonly Place[], signal: AbortSignal): Promise<void>
  letGo(imageId: string): Promise<void>
  /** Opens what `reach` made reachable, to look at its header. */
  openData(place: Place): Promise<ImageFile>
  /** The capacity that a volume gets which is asked for this much. */
  capacityFor(capacity: Bytes, format: VolumeFormat): Bytes
  usage(place: Place): Promise<Usage>
  /** Space that every other reader takes for garbage until it is published. */
  reserve(volume: NewVolume, signal: AbortSignal): Promise<void>
  /** Takes the space of a volume that will never be used until its whole capacity is there. */
  allocate(volume: NewVolume, signal: AbortSignal): Promise<void>
  /** The data so far is on storage. */
  flush(place: Place): Promise<void>
  /** One atomic write: from here on the volume exists. */
  publish(volume: NewVolume, point: string): Promise<void>
  /** Gives the space of an unpublished volume back. */
  release(place: Place): Promise<void>
  /** Makes a template's volume reachable in another image. */
  share(template: Place, imageId: string): Promise<void>
  /** Images other than its own that a template's volume is shared into. */
  sharers(template: Place): Promise<string[]>
  /** Room for a larger raw volume; less than there is changes nothing. */
  grow(place: Place, to: Bytes, metadata: VolumeMetadata, signal: AbortSignal): Promise<void>
  /** Unpublishes one volume, then gives its space back. */
  remove(place: Place, point: string): Promise<void>
  /** One atomic act: from here on the image does not exist. */
  markRemoved(imageId: string, wipe: boolean, point: string): Promise<void>
  removed(): Promise<Removed[]>
  purge(removed: Removed, signal: AbortSignal): Promise<void>
  /** Unpublished rests in an image: what a crash in the middle of a creation leaves. */
  leftovers(imageId: string): Promise<string[]>
  removeLeftovers(imageId: string): Promise<string[]>
  /** Removes what says nothing of what it is and nothing names; something else is refused. */
  removeOrphan(name: string): Promise<void>
  /** As manager, after a crash: what belongs to no image. What was done, in words. */
  tidy(signal: AbortSignal): Promise<string[]>
  /** Only LVM's metadata changes; without the manager's lease it is refused elsewhere (extend-volumes.ts). */
  extend(requests: readonly ExtendVolume[], signal: AbortSignal): Promise<ExtendedVolume[]>
  /** Reloads mappings that are active on this host, and tells their sizes. */
  refresh(
    volumeIds: readonly string[],
    signal: AbortSignal
  ): Promise<Array<{ volumeId: string; size: Bytes }>>
}

/** Whoever owns a lease, as its record says. A hint: acquiring is the only test. */
export type LeaseOwner = { sanlockHostId: number; generation: number; timestamp: number }
export type VmLease = { leaseId: string; offset: Bytes; owner: LeaseOwner | null }

/** A sanlock resource: everything that names it. */
export type Resource = { lockspace: string; name: string; path: string; offset: Bytes }

export type Leases = {
  volumeResource(place: Place): Promise<Resource>
  vmResource(leaseId: string): Promise<Resource>
  writeVolumeLease(place: Place, signal: AbortSignal): Promise<void>
  createVmLease(leaseId: string, signal: AbortSignal): Promise<VmLease>
  removeVmLease(leaseId: string, signal: AbortSignal): Promise<void>
  vmLeases(signal: AbortSignal): Promise<VmLease[]>
  /** Carries on with a rebuild that was cut off; true if there was one. */
  repairVmLeases(signal: AbortSignal): Promise<boolean>
  rebuildVmLeases(signal: AbortSignal): Promise<number>
  /** Holds the manager's lease: alone among all hosts until it is disposed of. */
  asManager(signal: AbortSignal): Promise<AsyncDisposable>
  /** Who holds the manager's lease, as its record says. */
  managerOwner(): Promise<LeaseOwner | null>
  join(sanlockHostId: number, signal: AbortSignal): Promise<void>
  leave(signal: AbortSignal): Promise<void>
  isJoined(signal: AbortSignal): Promise<boolean>
  /** This host's number in the lockspace as far as it has joined; null otherwise, and where nobody joins. */
  joinedAs(signal: AbortSignal): Promise<number | null>
}

/** Where what the format keeps beside volumes can be read and written on this host: files or block devices. */
export type SpecialPaths = Record<'metadata' | 'ids' | 'leases' | 'xleases' | 'inbox' | 'outbox', string>

/** What a host does with a storage domain beside its volumes: the paths that VMs and other programs are given. */
export type OnHost = {
  /** The special volumes, at the path that is the same on every host. */
  link(): Promise<void>
  unlink(): Promise<void>
  /** Whether it is in use here, also by what an earlier worker left. */
  isLinked(): Promise<boolean>
  /** The volumes of a chain in one directory, in which backing names resolve; the directory's path. */
  prepare(imageId: string, chain: readonly Place[], signal: AbortSignal): Promise<string>
  tearDown(imageId: string): Promise<void>
  preparedImages(): Promise<string[]>
  /** What is wrong with the parts that only this kind of storage domain has. */
  audit(): Promise<AuditFinding[]>
  /** Removes the storage domain; carries on with what a crash left of it. */
  erase(signal: AbortSignal): Promise<void>
  /** Gives back what opening took from this host. */
  close(): Promise<void>
}

export type Space = {
  total: Bytes
  free: Bytes
  /** What LVM's metadata takes of the room for it, percent; 0 without LVM. Beyond 100 nothing can be changed. */
  metadataPercent: number
}

export type Health = {
  /** How long one direct read of the metadata takes, in milliseconds. */
  latency(): Promise<number>
  space(): Promise<Space>
}

export interface StorageDomain {
  readonly identity: Identity
  readonly volumes: Volumes
  readonly leases: Leases
  readonly health: Health
  readonly special: SpecialPaths
  readonly manager: ManagerLease
  readonly onHost: OnHost
}
