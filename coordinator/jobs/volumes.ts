import type { Bytes } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import {
  eachOf,
  endTasks,
  performTask,
  sharedProgress,
  unlessAbsent,
  type Asking,
  type Hosts
} from './hosts.js'

// Volumes as jobs make and remove them: the part that every kind with disks shares.

export type VolumeFormat = 'raw' | 'qcow2'
export type Allocation = 'thin' | 'preallocated'

/** Where a new volume's content comes from. */
export type VolumeSource =
  | { kind: 'blank' }
  /** A template's volume, shared. */
  | { kind: 'thin'; imageId: string; volumeId: string }
  /** Any volume with all below it, copied. */
  | { kind: 'copy'; storageDomainId: string; imageId: string; volumeId: string }

/** A new image with one volume. */
export type NewVolume = {
  /** The image; also the disk. */
  diskId: string
  volumeId: string
  storageDomainId: string
  capacity: Bytes
  format: VolumeFormat
  allocation: Allocation
  description: string
  source: VolumeSource
  isTemplate: boolean
}

/** How many volumes of one job are made at once. */
const atOnce = 4

const { storage } = agentServices

export const wireFormat = (format: VolumeFormat) =>
  format === 'raw' ? ('DISK_FORMAT_RAW' as const) : ('DISK_FORMAT_QCOW2' as const)
export const wireAllocation = (allocation: Allocation) =>
  allocation === 'thin' ? ('ALLOCATION_POLICY_THIN' as const) : ('ALLOCATION_POLICY_PREALLOCATED' as const)

/** Makes all of them on one host. Those that are there already stay as they are. */
export async function createVolumes(
  hosts: Hosts,
  act: Asking,
  hostId: string,
  volumes: readonly NewVolume[]
): Promise<void> {
  const progress = sharedProgress(act, volumes.length)
  await eachOf(volumes, atOnce, async (volume, index) => {
    const one = { ...act, progress: progress(index) }
    await (volume.source.kind === 'copy'
      ? copyVolume(hosts, one, hostId, volume, volume.source)
      : createVolume(hosts, one, hostId, volume))
    progress(index)({ percent: 100 })
  })
}

function createVolume(hosts: Hosts, act: Asking, hostId: string, volume: NewVolume) {
  const { source } = volume
  const parent = source.kind === 'thin' ? { parentId: source.volumeId, parentImageId: source.imageId } : {}
  return performTask(
    hosts,
    act,
    hostId,
    storage.CreateVolume,
    { ...wireVolume(volume), ...parent },
    volume.diskId
  )
}

function copyVolume(
  hosts: Hosts,
  act: Asking,
  hostId: string,
  volume: NewVolume,
  source: VolumeSource & { kind: 'copy' }
) {
  const { capacity: _, ...target } = wireVolume(volume)
  const request = {
    ...target,
    sourceStorageDomainId: source.storageDomainId,
    sourceImageId: source.imageId,
    sourceVolumeId: source.volumeId,
    shared: volume.isTemplate
  }
  return performTask(hosts, act, hostId, storage.CopyImage, request, volume.diskId)
}

const wireVolume = ({
  diskId,
  volumeId,
  storageDomainId,
  capacity,
  format,
  allocation,
  description
}: NewVolume) => {
  return {
    storageDomainId,
    imageId: diskId,
    volumeId,
    capacity,
    format: wireFormat(format),
    allocation: wireAllocation(allocation),
    description
  }
}

export type ImageOnDomain = { diskId: string; storageDomainId: string }

/** Undoes createVolumes: first nothing may be at work any more, then nothing may be there. */
export async function takeBackVolumes(
  hosts: Hosts,
  act: Asking,
  hostId: string,
  images: readonly ImageOnDomain[]
): Promise<void> {
  for (const { diskId } of images) await endTasks(hosts, act, hostId, diskId)
  await removeImages(hosts, act, hostId, images, false)
}

/** Removes images with all their volumes. One that is not there is removed already. */
export async function removeImages(
  hosts: Hosts,
  act: Asking,
  hostId: string,
  images: readonly ImageOnDomain[],
  wipe: boolean
): Promise<void> {
  const progress = sharedProgress(act, images.length)
  await eachOf(images, atOnce, async ({ diskId, storageDomainId }, index) => {
    const request = { storageDomainId, imageId: diskId, wipe }
    const one = { ...act, progress: progress(index) }
    await unlessAbsent(performTask(hosts, one, hostId, storage.RemoveImage, request, diskId))
    progress(index)({ percent: 100 })
  })
}

export type Lease = { storageDomainId: string; leaseId: string }

/** Makes the lease of a VM; its offset in the xleases volume. One that exists is found. */
export async function createLease(hosts: Hosts, act: Asking, hostId: string, lease: Lease): Promise<number> {
  const { offset_bytes: offset = '' } = await performTask(
    hosts,
    act,
    hostId,
    storage.CreateLease,
    lease,
    'lease'
  )
  const bytes = Number(offset)
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new Error(`the host named no offset of the lease: "${offset}"`)
  return bytes
}

export async function removeLease(hosts: Hosts, act: Asking, hostId: string, lease: Lease): Promise<void> {
  await endTasks(hosts, act, hostId, 'lease')
  await unlessAbsent(performTask(hosts, act, hostId, storage.RemoveLease, lease, 'unlease'))
}
