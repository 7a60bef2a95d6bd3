import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { throwIfClaimed, type Claim } from '../store/claims.js'
import { disk as diskOf, type Disk } from '../store/disks.js'
import type { Reader, Tx } from '../store/query.js'
import { putCdDrive, replaceCdDrives, updateVm, vmCdDrives } from '../store/vms.js'
import type { Workshop } from './ordered-job.js'
import { activeDomain, downVm, ownVm, runningVm } from './vm-checks.js'
import type { Who } from './vm-orders.js'

// CD-ROM drives of VMs, and what is in them: ISO images, or nothing.

export const mostCdDrives = 4

/** What is in each drive, in their order; null is an empty one. */
export type CdDrives = ReadonlyArray<string | null>

export const readCdDrives = (fields: Fields): CdDrives =>
  fields.list('cdDrives', mostCdDrives, drive => drive.optionalUuid('diskId'))

export function readChangeCd(fields: Fields) {
  return {
    vmId: fields.uuid('vmId'),
    drive: fields.integerOr('drive', 1, 1, mostCdDrives),
    diskId: fields.optionalUuid('diskId'),
    isForced: fields.bool('force')
  }
}
export type WantedCd = ReturnType<typeof readChangeCd>

/** An ISO image that can be put into a drive. */
export function medium(reader: Reader, diskId: string, field: string): Disk {
  const disk = diskOf(reader, diskId)
  if (disk.content !== 'iso') {
    const text = `disk ${disk.name} is no ISO image: make one with "drover image import FILE.iso"`
    throw new Fault('INVALID_REQUEST', text, {
      violations: [{ field, description: 'must be an ISO image' }],
      facts: { disk: diskId }
    })
  }
  if (disk.status !== 'ok') throw new Fault('WRONG_STATE', `ISO image ${disk.name} is ${disk.status}`)
  activeDomain(reader, disk.storageDomainId)
  return disk
}

/** Checks what shall be in the drives of a VM; nothing of it is written. */
export function throwIfNoMedia(reader: Reader, drives: CdDrives, field: string): void {
  for (const [index, diskId] of drives.entries()) {
    if (diskId === null) continue
    throwIfClaimed(reader, { type: 'disk', id: diskId, mode: 'read' })
    medium(reader, diskId, `${field}[${index}].disk_id`)
  }
}

/** What is in its drives stays as it is while something is done with the VM. */
export const onMedia = (reader: Reader, vmId: string): Claim[] =>
  mediaIn(vmCdDrives(reader, vmId).map(({ diskId }) => diskId))

/** An image may be in several drives. */
export const mediaIn = (drives: CdDrives): Claim[] =>
  [...new Set(drives)].flatMap(id => (id === null ? [] : [{ type: 'disk', id, mode: 'read' } as const]))

/** A drive of its own for one more image, in a VM that is down. */
export function addCd(tx: Tx, vmId: string, diskId: string): void {
  const drives = vmCdDrives(tx, vmId)
  if (drives.length >= mostCdDrives) {
    throw new Fault('INVALID_REQUEST', `a VM has at most ${mostCdDrives} CD-ROM drives`, {
      violations: [{ field: 'attachment', description: `must not be more than the ${mostCdDrives}th CD` }]
    })
  }
  medium(tx, diskId, 'attachment.disk_id')
  putCdDrive(tx, { vmId, number: drives.length + 1, diskId })
}

/** Whether the image was in a drive, which is gone now with it. */
export function removeCd(tx: Tx, vmId: string, diskId: string): boolean {
  const before = vmCdDrives(tx, vmId).map(drive => drive.diskId)
  const after = before.filter(each => each !== diskId)
  if (after.length < before.length) replaceCdDrives(tx, vmId, after)
  return after.length < before.length
}

/** Puts an image in, or takes one out: at once where the VM is down, else by a job on its host. */
export function orderChangeCd({ jobs }: Workshop, tx: Tx, wanted: WantedCd, who: Who): string {
  const { vmId, drive, diskId, isForced } = wanted
  const vm = ownVm(tx, vmId)
  const drives = vmCdDrives(tx, vmId)
  const before = drives.find(({ number }) => number === drive)
  const objects = { vm: vmId, ...(diskId !== null && { disk: diskId }) }
  if (diskId !== null) medium(tx, diskId, 'disk_id')
  if (!before) throwUnlessNext(vm, drive, drives.length, diskId)
  if (vm.status === 'down') {
    throwIfClaimed(tx, { type: 'vm', id: vmId, mode: 'change' })
    downVm(tx, vmId, 'change a CD')
    if (diskId !== null) throwIfClaimed(tx, { type: 'disk', id: diskId, mode: 'read' })
    putCdDrive(tx, { vmId, number: drive, diskId })
    updateVm(tx, vmId, {})
    return jobs.createOver(tx, 'vm.change_cd', { objects, ...who }, { note: 'the VM is down' })
  }
  const { hostId, generation } = runningVm(tx, vmId, 'change a CD')
  return jobs.create(tx, 'vm.change_cd', {
    context: {
      ...{ vmId, hostId, vmGeneration: generation, drive, diskId, isForced },
      before: before?.diskId ?? null
    },
    objects,
    claims: [{ type: 'vm', id: vmId, mode: 'change' }, ...mediaIn([diskId])],
    ...who
  })
}

/** A drive comes with the next number, in a VM that is down: guests are not given drives while they run. */
function throwUnlessNext(
  vm: { id: string; name: string; status: string },
  drive: number,
  has: number,
  diskId: string | null
): void {
  if (diskId === null) {
    throw new Fault('NOT_FOUND', `VM ${vm.name} has no CD-ROM drive ${drive}`, { facts: { vm: vm.id } })
  }
  if (vm.status !== 'down') {
    const text = `VM ${vm.name} runs without a CD-ROM drive ${drive}: stop it, and insert the CD before it starts`
    throw new Fault('WRONG_STATE', text, { facts: { vm: vm.id } })
  }
  if (drive === has + 1) return
  throw new Fault('INVALID_REQUEST', `VM ${vm.name} has ${has} CD-ROM drives`, {
    violations: [{ field: 'drive', description: `must be at most ${has + 1}, the next one` }]
  })
}
