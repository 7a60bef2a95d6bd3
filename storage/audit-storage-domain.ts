import { lstat, readdir } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import type { RepairKind } from './doctor/diagnosis.js'
import { readChain } from './chain.js'
import { asFault } from './faults.js'
import { ifThere } from './files.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import { inspectVolume } from './image-inspector.js'
import { readSanlockRecord } from './format/sanlock-record.js'
import { readDirect } from './direct-io.js'
import type { Operation } from './operation.js'
import type { StorageDomain } from './storage-domain.js'

export type AuditFinding = {
  invariant: string
  object: string
  text: string
  /** What the doctor can do about it. */
  repair?: RepairKind
}

/** What every look at a storage domain needs. `intents` are volumes and images that unfinished work owns. */
type Look = {
  storageDomain: StorageDomain
  op: Operation
  intents: ReadonlySet<string>
  findings: AuditFinding[]
}

/**
 * Looks for broken invariants (reliability.md, I5 and I6) without changing anything. Whatever unfinished work
 * owns is in progress, not broken.
 */
export async function auditStorageDomain(
  storageDomain: StorageDomain,
  op: Operation,
  intents: readonly string[],
  signal: AbortSignal
): Promise<AuditFinding[]> {
  const look: Look = { storageDomain, op, intents: new Set(intents), findings: [] }
  for (const { invariant, object, text } of await storageDomain.onHost.audit()) {
    found(look, invariant, object, text)
  }
  for (const { imageId } of await storageDomain.volumes.removed()) {
    found(look, 'I5', imageId, `the removed image ${imageId} was not purged`)
  }
  for (const imageId of await storageDomain.volumes.imageIds()) {
    signal.throwIfAborted()
    await auditImage(look, imageId, signal)
  }
  await auditVmLeases(look, signal)
  return look.findings
}

function found({ intents, findings }: Look, invariant: string, object: string, text: string): void {
  if (!intents.has(object)) findings.push({ invariant, object, text })
}

async function auditImage(look: Look, imageId: string, signal: AbortSignal): Promise<void> {
  const { volumes } = look.storageDomain
  for (const name of await volumes.leftovers(imageId)) {
    found(look, 'I5', name.slice(0, 36), `image ${imageId} holds ${name}, which belongs to no volume`)
  }
  const image = new Map<string, VolumeMetadata>()
  for (const volumeId of (await volumes.volumeIds(imageId)) ?? []) {
    try {
      image.set(volumeId, await volumes.read({ imageId, volumeId }))
    } catch (error) {
      if (!Fault.is(error, 'CORRUPT')) throw error
      found(look, 'I6', volumeId, error.message)
    }
  }
  if (image.size === 0) {
    found(look, 'I5', imageId, `image ${imageId} has no volume`)
    return
  }
  if (look.intents.has(imageId) || [...image.keys()].some(id => look.intents.has(id))) return
  await auditChain(look, imageId, image, signal)
  for (const [volumeId, metadata] of image) {
    if (metadata.imageId === imageId) await auditVolumeLease(look, imageId, volumeId)
  }
}

async function auditChain(
  look: Look,
  imageId: string,
  image: Map<string, VolumeMetadata>,
  signal: AbortSignal
): Promise<void> {
  const reading = readChain(imageId, image)
  if (reading.kind === 'broken') {
    for (const { volumeId, text } of reading.problems) found(look, 'I6', volumeId ?? imageId, text)
    return
  }
  for (const id of reading.chain.leftovers) {
    found(look, 'I5', id, `volume ${id} of image ${imageId} is no part of its chain`)
  }
  const { volumes } = look.storageDomain
  const places = reading.chain.volumes.map(({ volumeId }) => ({ imageId, volumeId }))
  try {
    await volumes.reach(places, signal)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    found(look, 'I6', imageId, `image ${imageId} cannot be looked into: ${error.message}`)
    return
  }
  for (const [i, { volumeId, metadata }] of reading.chain.volumes.entries()) {
    const parent = reading.chain.volumes[i + 1]
    try {
      await using file = await volumes.openData({ imageId, volumeId })
      const names = parent && [
        parent.volumeId,
        ...[metadata.imageId, parent.metadata.imageId].map(id => `../${id}/${parent.volumeId}`)
      ]
      const { problems } = await inspectVolume(file, {
        format: metadata.format,
        capacity: BigInt(metadata.capacity),
        backing: parent && names ? { path: names, format: parent.metadata.format } : null,
        mayBeDirty: true
      })
      for (const { rule, text } of problems) found(look, 'I6', volumeId, `${rule}: ${text}`)
    } catch (error) {
      const fault = asFault(error)
      if (!(fault instanceof Fault)) throw error
      found(look, 'I6', volumeId, fault.message)
    }
  }
  await volumes.letGo(imageId)
}

/** Each volume has a lease of its own name, or nobody can ever write it under guard. */
async function auditVolumeLease(look: Look, imageId: string, volumeId: string): Promise<void> {
  const { identity, leases } = look.storageDomain
  if (!identity.shared) return
  const { path, offset } = await leases.volumeResource({ imageId, volumeId })
  const sector = await ifThere(readDirect(path, offset, identity.geometry.sectorSize))
  const name = sector === null ? null : leaseName(sector)
  if (name !== volumeId)
    found(look, 'I5', volumeId, `the lease of volume ${volumeId} is ${name ?? 'missing'}`)
}

async function auditVmLeases(look: Look, signal: AbortSignal): Promise<void> {
  const { identity, special, leases } = look.storageDomain
  if (!identity.shared) return
  const known = await leases.vmLeases(signal).catch((error: unknown) => {
    const fault = asFault(error)
    if (!(fault instanceof Fault)) throw error
    found(look, 'I5', identity.id, `the index of VM leases cannot be read: ${fault.message}`)
    return []
  })
  for (const { leaseId, offset } of known) {
    signal.throwIfAborted()
    const name = leaseName(await readDirect(special.xleases, offset, identity.geometry.sectorSize))
    if (name !== leaseId)
      found(look, 'I5', leaseId, `record and resource of lease ${leaseId} differ: ${name ?? 'none'}`)
  }
}

export function leaseName(sector: Buffer): string | null {
  try {
    return sector.length < 176 ? null : (readSanlockRecord(sector)?.resource ?? null)
  } catch {
    return null
  }
}

/** For tests and people: sizes of what is there. */
export async function spaceTaken(directory: string): Promise<number> {
  const names = (await ifThere(readdir(directory, { recursive: true }))) ?? []
  const stats = await Promise.all(names.map(name => lstat(`${directory}/${name}`)))
  return stats.reduce((sum, { blocks }) => sum + blocks * 512, 0)
}
