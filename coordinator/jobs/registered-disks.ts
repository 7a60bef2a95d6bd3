import type { Volume__Output } from '../../proto/generated/types/drover/agent/v1/Volume.js'
import type { Allocation, VolumeFormat } from './volumes.js'

// The disks of a storage domain, out of the list of its volumes. PURE.

export type FoundVolume = {
  volumeId: string
  parentId: string | null
  capacity: number
  format: VolumeFormat
  allocation: Allocation
  isShared: boolean
}
export type FoundDisk = {
  diskId: string
  name: string
  leaf: FoundVolume
  /** From the base up; a parent always comes before its children. */
  volumes: FoundVolume[]
  /** For CD-ROM drives. Absent in jobs of earlier versions. */
  isIso?: boolean
  /** Why it must not be used; empty when it may. */
  problem: string
}

/** Disks whose base is a template's volume come after that template's. What has no leaf is left out. */
export function disksIn(volumes: readonly Volume__Output[]): FoundDisk[] {
  const byImage = new Map<string, Volume__Output[]>()
  for (const volume of volumes) {
    byImage.set(volume.imageId, [...(byImage.get(volume.imageId) ?? []), volume])
  }
  const known = new Set(volumes.map(({ volumeId }) => volumeId))
  const disks = [...byImage].flatMap(([imageId, own]) => diskOf(imageId, own, known) ?? [])
  return disks.toSorted((a, b) => Number(b.leaf.isShared) - Number(a.leaf.isShared))
}

function diskOf(
  imageId: string,
  own: readonly Volume__Output[],
  known: ReadonlySet<string>
): FoundDisk | null {
  const parents = new Set(own.map(({ parentId }) => parentId))
  const leaves = own.filter(({ volumeId }) => !parents.has(volumeId))
  const [leaf] = leaves
  if (!leaf) return null
  const chain = chainTo(leaf, own)
  const bad = chain.find(({ legality }) => legality !== 'VOLUME_LEGALITY_LEGAL')
  const orphan = chain.find(({ parentId }) => parentId !== '' && !known.has(parentId))
  return {
    diskId: imageId,
    name: nameIn(leaf.description) || imageId.slice(0, 8),
    leaf: found(leaf, known),
    volumes: chain.map(volume => found(volume, known)),
    isIso: leaf.iso,
    problem:
      leaves.length > 1
        ? 'it has several leaves'
        : bad
          ? `volume ${bad.volumeId} is illegal`
          : orphan
            ? `volume ${orphan.volumeId} has no parent here`
            : ''
  }
}

function chainTo(leaf: Volume__Output, own: readonly Volume__Output[]): Volume__Output[] {
  const chain: Volume__Output[] = []
  for (let next: Volume__Output | undefined = leaf; next && !chain.includes(next);) {
    chain.unshift(next)
    const { parentId }: Volume__Output = next
    next = own.find(({ volumeId }) => volumeId === parentId)
  }
  return chain
}

const found = (volume: Volume__Output, known: ReadonlySet<string>): FoundVolume => ({
  volumeId: volume.volumeId,
  parentId: known.has(volume.parentId) ? volume.parentId : null,
  capacity: Number(volume.capacity),
  format: volume.format === 'DISK_FORMAT_RAW' ? 'raw' : 'qcow2',
  allocation: volume.allocation === 'ALLOCATION_POLICY_PREALLOCATED' ? 'preallocated' : 'thin',
  isShared: volume.role === 'VOLUME_ROLE_SHARED'
})

/** oVirt writes the alias of a disk as JSON into the description of its volumes. */
function nameIn(description: string): string {
  const [, alias = ''] = /"DiskAlias"\s*:\s*"([^"\\]{1,255})"/.exec(description) ?? []
  return alias || (/^[\p{L}\p{N} ._-]{1,255}$/u.test(description) ? description.trim() : '')
}
