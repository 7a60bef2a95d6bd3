import { lstat, mkdir, readlink, symlink, unlink } from 'node:fs/promises'
import { takesDirectIo } from './direct-io.js'
import { ifThere } from './files.js'
import type { Bytes } from '../common/units.js'
import type { VolumeFormat } from './format/volume-metadata.js'
import type { Operation } from './operation.js'
import type { Place } from './storage-domain.js'
import { verifyChain } from './verify-chain.js'

export type PrepareImage = Place
export type PreparedVolume = Place & {
  /** QEMU has to be told what it opens. */
  kind: 'file' | 'block'
  path: string
  format: VolumeFormat
  capacity: Bytes
  /** Whether the storage can be read and written past the host's cache. */
  hasDirectIo: boolean
}

/** Where links are made; the same on every host, so that a migrating VM keeps its paths. */
export type RunPaths = { storageDomain: string; volumes: string }

export function runPaths(runDirectory: string, storageDomainId: string): RunPaths {
  return {
    storageDomain: `${runDirectory}/domains/${storageDomainId}`,
    volumes: `${runDirectory}/volumes/${storageDomainId}`
  }
}

/** Checks the chain and links its volumes in one directory, in which all backing names resolve. Leaf first. */
export async function prepareImage(
  op: Operation,
  place: PrepareImage,
  signal: AbortSignal
): Promise<PreparedVolume[]> {
  const { volumes, onHost } = op.storageDomain
  try {
    const chain = await verifyChain(op, place, signal)
    const places = chain.map(({ volumeId }) => ({ imageId: place.imageId, volumeId }))
    const directory = await onHost.prepare(place.imageId, places, signal)
    const hasDirectIo = await takesDirectIo(`${directory}/${place.volumeId}`)
    return chain.map(({ volumeId, metadata }) => ({
      imageId: metadata.imageId,
      volumeId,
      kind: volumes.onBlock ? 'block' : 'file',
      path: `${directory}/${volumeId}`,
      format: metadata.format,
      capacity: metadata.capacity,
      hasDirectIo
    }))
  } finally {
    await volumes.letGo(place.imageId)
  }
}

/** A link that says what it said before is left alone: QEMU may be about to open it. */
export async function linkTo(target: string, link: string): Promise<void> {
  await mkdir(link.slice(0, link.lastIndexOf('/')), { recursive: true, mode: 0o755 })
  const present = await ifThere(lstat(link))
  if (present !== null) {
    if ((await readlink(link).catch(() => null)) === target) return
    await unlink(link)
  }
  await symlink(target, link)
}
