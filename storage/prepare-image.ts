import { lstat, mkdir, readlink, rmdir, symlink, unlink } from 'node:fs/promises'
import type { FileLayout } from './file-layout.js'
import { ifThere, isCode } from './files.js'
import type { Bytes } from '../common/units.js'
import type { VolumeFormat } from './format/volume-metadata.js'
import type { Operation } from './operation.js'
import type { Place } from './storage-domain.js'
import { verifyChain } from './verify-chain.js'

export type PrepareImage = Place
export type PreparedVolume = Place & { path: string; format: VolumeFormat; capacity: Bytes }

/** Where links are made; the same on every host, so that a migrating VM keeps its paths. */
export type RunPaths = { storageDomain: string; volumes: string }

export function runPaths(runDirectory: string, storageDomainId: string): RunPaths {
  return {
    storageDomain: `${runDirectory}/domains/${storageDomainId}`,
    volumes: `${runDirectory}/volumes/${storageDomainId}`
  }
}

/** Checks the chain and links the image's directory, in which all backing names resolve. Leaf first. */
export async function prepareImage(
  op: Operation,
  place: PrepareImage,
  layout: FileLayout,
  paths: RunPaths
): Promise<PreparedVolume[]> {
  const chain = await verifyChain(op, place)
  await linkTo(layout.image(place.imageId), `${paths.volumes}/${place.imageId}`)
  return chain.map(({ volumeId, metadata }) => ({
    imageId: metadata.imageId,
    volumeId,
    path: `${paths.volumes}/${place.imageId}/${volumeId}`,
    format: metadata.format,
    capacity: metadata.capacity
  }))
}

export async function tearDownImage(imageId: string, paths: RunPaths): Promise<void> {
  await ifThere(unlink(`${paths.volumes}/${imageId}`))
  await rmdir(paths.volumes).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT', 'ENOTEMPTY')) throw error
  })
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
