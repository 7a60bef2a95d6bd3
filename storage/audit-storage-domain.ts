import { lstat, readdir } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import { readChain } from './chain.js'
import { asFault } from './faults.js'
import type { FileStorageDomain } from './file-storage-domain.js'
import { exists, ifThere } from './files.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import { openImageFile } from './image-file.js'
import { inspectVolume } from './image-inspector.js'
import { readSanlockRecord } from './format/sanlock-record.js'
import { readDirect } from './direct-io.js'
import type { Operation } from './operation.js'

export type AuditFinding = { invariant: string; object: string; text: string }

/** What every look at a file storage domain needs. `intents` are volumes and images that unfinished work owns. */
type Look = {
  storageDomain: FileStorageDomain
  op: Operation
  intents: ReadonlySet<string>
  findings: AuditFinding[]
}

/**
 * Looks for broken invariants (reliability.md, I5 and I6) without changing anything. Whatever unfinished work
 * owns is in progress, not broken.
 */
export async function auditStorageDomain(
  storageDomain: FileStorageDomain,
  op: Operation,
  intents: readonly string[],
  signal: AbortSignal
): Promise<AuditFinding[]> {
  const look: Look = { storageDomain, op, intents: new Set(intents), findings: [] }
  await auditSpecial(look)
  for (const name of await readdir(storageDomain.layout.images)) {
    if (name.startsWith('_remove_me_'))
      found(look, 'I5', name.slice(-36), `the removed image ${name} was not purged`)
  }
  for (const imageId of await storageDomain.volumes.imageIds()) {
    signal.throwIfAborted()
    await auditImage(look, imageId)
  }
  await auditVmLeases(look, signal)
  return look.findings
}

function found({ intents, findings }: Look, invariant: string, object: string, text: string): void {
  if (!intents.has(object)) findings.push({ invariant, object, text })
}

async function auditSpecial(look: Look): Promise<void> {
  const { layout, identity } = look.storageDomain
  const wanted = [
    layout.ids,
    layout.leases,
    layout.inbox,
    layout.outbox,
    ...(identity.shared ? [layout.xleases] : [])
  ]
  for (const path of wanted) {
    if (!(await exists(path)))
      found(look, 'I5', identity.id, `the special file ${path.split('/').at(-1)} is missing`)
  }
  if (await exists(`${layout.metadata}.new`)) {
    // The rest of a metadata write that a crash cut off: the next write goes over it.
    look.op.log.debug({ storageDomain: identity.id }, 'metadata.new is left over')
  }
}

async function auditImage(look: Look, imageId: string): Promise<void> {
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
  await auditChain(look, imageId, image)
  for (const [volumeId, metadata] of image) {
    if (metadata.imageId === imageId) await auditVolumeLease(look, imageId, volumeId)
  }
}

async function auditChain(look: Look, imageId: string, image: Map<string, VolumeMetadata>): Promise<void> {
  const reading = readChain(imageId, image)
  if (reading.kind === 'broken') {
    for (const { volumeId, text } of reading.problems) found(look, 'I6', volumeId ?? imageId, text)
    return
  }
  for (const id of reading.chain.leftovers) {
    found(look, 'I5', id, `volume ${id} of image ${imageId} is no part of its chain`)
  }
  for (const [i, { volumeId, metadata }] of reading.chain.volumes.entries()) {
    const parent = reading.chain.volumes[i + 1]
    const path = look.storageDomain.volumes.path({ imageId, volumeId })
    try {
      await using file = await openImageFile(path)
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
}

/** Each volume has a lease of its own name, or nobody can ever write it under guard. */
async function auditVolumeLease(look: Look, imageId: string, volumeId: string): Promise<void> {
  const { identity, layout } = look.storageDomain
  if (!identity.shared) return
  const sector = await ifThere(readDirect(layout.lease(imageId, volumeId), 0, identity.geometry.sectorSize))
  const name = sector === null ? null : leaseName(sector)
  if (name !== volumeId)
    found(look, 'I5', volumeId, `the lease of volume ${volumeId} is ${name ?? 'missing'}`)
}

async function auditVmLeases(look: Look, signal: AbortSignal): Promise<void> {
  const { identity, layout, leases } = look.storageDomain
  if (!identity.shared) return
  const known = await leases.vmLeases().catch((error: unknown) => {
    const fault = asFault(error)
    if (!(fault instanceof Fault)) throw error
    found(look, 'I5', identity.id, `the index of VM leases cannot be read: ${fault.message}`)
    return []
  })
  for (const { leaseId, offset } of known) {
    signal.throwIfAborted()
    const name = leaseName(await readDirect(layout.xleases, offset, identity.geometry.sectorSize))
    if (name !== leaseId)
      found(look, 'I5', leaseId, `record and resource of lease ${leaseId} differ: ${name ?? 'none'}`)
  }
}

function leaseName(sector: Buffer): string | null {
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
