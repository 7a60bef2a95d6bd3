import type { Fields } from '../common/fields.js'
import { Fault } from '../common/fault.js'
import type { DiskSpec } from '../libvirt/domain-spec.js'
import type { VmCdDrive as WireDrive } from '../proto/generated/types/drover/agent/v1/VmCdDrive.js'
import type { VmSpec } from './vm-spec.js'

// CD-ROM drives of a VM, and what is in them.

/** A raw volume that nobody writes. */
export type Medium = { storageDomainId: string; imageId: string; volumeId: string }
/** Null: the drive is empty. */
export type CdDrive = { medium: Medium | null }

export const mostCdDrives = 4

export const mediumOf = (fields: Fields): Medium => ({
  storageDomainId: fields.uuid('storageDomainId'),
  imageId: fields.uuid('imageId'),
  volumeId: fields.uuid('volumeId')
})

export const cdDriveOf = (fields: Fields): CdDrive => ({ medium: fields.optionalMessage('medium', mediumOf) })

export const cdDriveMessage = ({ medium }: CdDrive): WireDrive => ({ medium })

/** Records of earlier versions know no drives. */
export const drivesOf = ({ cdDrives = [] }: VmSpec): CdDrive[] => cdDrives

export const mediaOf = (spec: VmSpec): Medium[] => drivesOf(spec).flatMap(({ medium }) => medium ?? [])

/** Its name in libvirt's words: the same whatever is in it. */
export const driveId = (index: number) => `cd-${index + 1}`

/** The number of a drive by the alias that events name; null for anything else. */
export function driveNumber(alias: string): number | null {
  const [, number] = /^ua-cd-([1-9])$/.exec(alias) ?? []
  return number === undefined ? null : Number(number)
}

/** A drive as libvirt has it, with the volume in it where there is one. */
export function driveSpec(index: number, chain: DiskSpec['chain'], boot: number): DiskSpec {
  return {
    ...{ diskId: driveId(index), bus: 'sata', isCdrom: true, isReadOnly: true, slot: 0, chain, boot },
    hasDirectIo: false
  }
}

/** The same spec with something else in a drive. PURE. */
export function withMedium(spec: VmSpec, number: number, medium: Medium | null): VmSpec {
  const drives = drivesOf(spec)
  if (drives[number - 1] === undefined) {
    throw new Fault('WRONG_STATE', `VM ${spec.vmId} was started without a CD-ROM drive ${number}`, {
      facts: { vm: spec.vmId }
    })
  }
  return {
    ...spec,
    cdDrives: drives.map((drive, index) => (index === number - 1 ? { medium } : drive))
  }
}

export const isSameMedium = (a: Medium | null, b: Medium | null) =>
  a?.storageDomainId === b?.storageDomainId && a?.imageId === b?.imageId && a?.volumeId === b?.volumeId
