import type { AuditFinding } from './audit-storage-domain.js'
import type { RepairKind } from './doctor/diagnosis.js'
import type { BlockStorageDomain } from './block-storage-domain.js'
import { readVolumeTags } from './format/block-tags.js'
import { isSpecialVolume, lastSlot, specialVolumes } from './format/leases-layout.js'
import { isUuid } from './format/uuid.js'
import { readVolumeMetadata } from './format/volume-metadata.js'
import { slotOffset } from './format/leases-layout.js'
import { readDirect } from './direct-io.js'

/** What only a VG can have wrong: its PVs, its special volumes, the tags of its LVs. Nothing is changed. */
export async function auditGroup({ group, identity, special }: BlockStorageDomain): Promise<AuditFinding[]> {
  const findings: AuditFinding[] = []
  const found = (invariant: string, object: string, text: string, repair?: RepairKind) =>
    findings.push({ invariant, object, text, ...(repair && { repair }) })
  const { volumes, reading, extentSize, uuid, isMoving } = await group.read()

  for (const pv of reading.missing) found('I5', identity.id, `the physical volume ${pv} is missing`)
  if (reading.metadataDevices.length !== 1) {
    found(
      'I5',
      identity.id,
      `${reading.metadataDevices.length} physical volumes hold LVM's metadata, not one`
    )
  }
  if (isMoving) found('I5', identity.id, 'one of its devices is half taken out: take it out once more')
  if (reading.damaged > 0) found('I5', identity.id, `${reading.damaged} copies of LVM's metadata are damaged`)
  if (reading.areaSize < 64 * 2 ** 20) found('I5', identity.id, "the area for LVM's metadata is too small")
  if (reading.textSize > 0.4 * reading.areaSize) found('I5', identity.id, "LVM's metadata is nearly full")
  for (const { name, size } of specialVolumes(identity.geometry.alignment)) {
    const there = volumes.get(name)
    if (there === undefined) found('I5', identity.id, `the special volume ${name} is missing`)
    else if (there.size < Math.ceil(size / extentSize) * extentSize)
      found('I5', identity.id, `the special volume ${name} has only ${there.size} bytes`)
  }
  const { vgUuid, pvs } = await identity.metadata()
  if (vgUuid !== uuid) found('I5', identity.id, `the metadata names VG ${vgUuid}, and this is ${uuid}`)
  const mapped = new Set([...pvs.values()].map(pv => pv.uuid))
  for (const pv of reading.group.pvs) {
    if (!mapped.has(pv.uuid))
      found('I5', identity.id, `the metadata does not name the physical volume ${pv.uuid}`, 'sweep')
  }

  const slots = new Map<number, string>()
  for (const { name, tags, size } of volumes.values()) {
    if (isSpecialVolume(name)) continue
    const tagged = readVolumeTags(tags)
    if (tagged.kind === 'initializing') found('I5', name, `the volume ${name} is half made`, 'sweep')
    if (tagged.kind === 'unknown') {
      const isNobodys = !tags.some(tag => /^(MD|IU)_/.test(tag)) && isUuid(name)
      const repair = isNobodys ? 'removeOrphan' : undefined
      found('I5', name, `the logical volume ${name} has ${tagged.problem}`, repair)
    }
    if (tagged.kind !== 'volume' && tagged.kind !== 'removed') continue
    const { slot } = tagged
    if (slot < 1 || slot > lastSlot) {
      found('I5', name, `volume ${name} has the impossible slot ${slot}`)
      continue
    }
    const other = slots.get(slot)
    if (other !== undefined) found('I5', name, `volumes ${name} and ${other} share slot ${slot}`)
    slots.set(slot, name)
    if (tagged.kind === 'removed') continue
    const record = readVolumeMetadata(await readDirect(special.metadata, slotOffset(slot), 512))
    if (record.kind !== 'valid') continue // The look at its image says so.
    const { parentId, capacity, format, imageId } = record.metadata
    if (parentId !== tagged.parentId)
      found('I5', name, `the tag of volume ${name} names another parent`, 'sweep')
    if (imageId !== tagged.imageId) found('I5', name, `the tag of volume ${name} names another image`)
    if (format === 'raw' && size < capacity) {
      found('I6', name, `raw volume ${name} has ${size} bytes for a capacity of ${capacity}`, 'grow')
    }
  }
  return findings
}
