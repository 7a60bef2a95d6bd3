import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { throwIfClaimed, type Claim } from '../store/claims.js'
import { disk as diskOf, updateDisk, type Disk } from '../store/disks.js'
import { bit, type Reader, type Tx } from '../store/query.js'
import { shareVmDisks, vmsOfDisk, type VmDisk } from '../store/vms.js'

// Disks that several VMs write at the same time.

/** Only what has no header and gets no space later can be written by several at once. */
export function readShareable(fields: Fields, kind: { format: string; allocation: string }): boolean {
  const isShareable = fields.bool('shareable')
  if (isShareable && kind.format !== 'raw') {
    fields.refuse('format', 'must be RAW for a shareable disk', null)
  } else if (isShareable && kind.allocation !== 'preallocated') {
    fields.refuse('allocation', 'must be PREALLOCATED for a shareable disk', null)
  }
  return isShareable
}

/** While nobody uses it: whoever has it open would keep the lock of one who is alone. */
export function changeShareable(tx: Tx, disk: Disk, isShareable: boolean): void {
  if (disk.isShareable === isShareable) return
  const { id, name } = disk
  throwIfClaimed(tx, { type: 'disk', id, mode: 'change' })
  const users = vmsOfDisk(tx, id)
  const busy = users.find(({ status }) => status !== 'down')
  if (busy) {
    throw new Fault(
      'WRONG_STATE',
      `VM ${busy.name} is ${busy.status}; it must be down for disk ${name} to change`,
      {
        facts: { vm: busy.id }
      }
    )
  }
  const why = isShareable ? unshareable(disk) : unownable(disk, users.length)
  if (why !== null) {
    throw new Fault('WRONG_STATE', `disk ${name} ${why}`, { facts: { disk: id } })
  }
  updateDisk(tx, id, { isShareable: bit(isShareable) })
  shareVmDisks(tx, id, isShareable)
}

function unshareable({ format, allocation, chainLength, templateId, content }: Disk): string | null {
  if (templateId !== '') return 'belongs to a template, which nobody writes'
  if (content === 'iso') return 'is an ISO image, which any number of VMs read already'
  if (format !== 'raw' || allocation !== 'preallocated' || chainLength !== 1) {
    return 'is not raw and preallocated: copy it with --format raw --preallocated, and share the copy'
  }
  return null
}

const unownable = (_: Disk, users: number) =>
  users > 1 ? `is attached to ${users} VMs: detach it from all but one first` : null

/** What several VMs write stands still at no moment, so nothing is made of it. */
export function throwIfShared(reader: Reader, attached: readonly VmDisk[], what: string): void {
  const shared = attached.find(({ isShared }) => isShared)
  if (!shared) return
  const { name } = diskOf(reader, shared.diskId)
  const text = `disk ${name} is shareable, and ${what} have none of these: detach it from the VM first`
  throw new Fault('WRONG_STATE', text, { facts: { disk: shared.diskId } })
}

/** While a disk is read or changed, nobody starts a VM that has it. */
export const onUsers = (reader: Reader, diskId: string): Claim[] =>
  vmsOfDisk(reader, diskId).map(({ id }) => ({ type: 'vm', id, mode: 'change' }))
