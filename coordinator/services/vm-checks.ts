import { Fault } from '../../common/fault.js'
import { keptFree } from '../storage-space.js'
import { disk as diskOf, type Disk } from '../store/disks.js'
import { host } from '../store/hosts.js'
import { vmLuns } from '../store/luns.js'
import type { Reader } from '../store/query.js'
import { storageDomain, type StorageDomain } from '../store/storage-domains.js'
import { ownerOfMac, vm as vmRow, vmDisks, vmNics, type Vm } from '../store/vms.js'
import { freeMac, freeSlots } from '../jobs/slots.js'
import type { DiskAttachment, NicAttachment } from './vm-fields.js'

// What must hold before something is done with a VM; each refusal says what and why.

/** A VM of ours that is whole. External ones are shown and never touched. */
export function ownVm(reader: Reader, id: string): Vm {
  const vm = vmRow(reader, id)
  if (vm.isExternal) throw wrong(vm, 'was not made by this installation and is never touched')
  if (vm.phase === 'creating') throw wrong(vm, 'is still being made')
  if (vm.phase === 'removing') throw wrong(vm, 'is being removed')
  return vm
}

export function downVm(reader: Reader, id: string, what: string): Vm {
  const vm = ownVm(reader, id)
  if (vm.status !== 'down') throw wrong(vm, `is ${vm.status}; it must be down to ${what}`)
  return vm
}

const steerable: ReadonlySet<string> = new Set([
  'powering_up',
  'up',
  'paused',
  'reboot_in_progress',
  'powering_down'
])

/** A VM that runs on a host which answers. */
export function runningVm(reader: Reader, id: string, what: string): Vm & { hostId: string } {
  const vm = ownVm(reader, id)
  const { hostId, status } = vm
  if (hostId === null || !steerable.has(status)) throw wrong(vm, `is ${status}; it must run to ${what}`)
  return { ...vm, hostId }
}

/** A host that exists and belongs to the VM's cluster. */
export function hostOfCluster(reader: Reader, hostId: string, clusterId: string): void {
  const { clusterId: own, name } = host(reader, hostId)
  if (own !== clusterId) throw new Fault('WRONG_STATE', `host ${name} is in another cluster than the VM`)
}

/** A storage domain in use, with room for something new. */
export function roomyDomain(reader: Reader, id: string): StorageDomain {
  const domain = activeDomain(reader, id)
  const least = keptFree(domain)
  if (domain.totalBytes > 0 && domain.freeBytes < least) {
    throw new Fault(
      'STORAGE_DOMAIN_FULL',
      `storage domain ${domain.name} has ${domain.freeBytes} bytes free, fewer than the ${least} it keeps`,
      { facts: { storageDomain: id } }
    )
  }
  return domain
}

export function activeDomain(reader: Reader, id: string): StorageDomain {
  const domain = storageDomain(reader, id)
  if (domain.phase === 'active') return domain
  throw new Fault('WRONG_STATE', `storage domain ${domain.name} is ${domain.status}; it must be active`)
}

/** A disk that can be attached: whole, of no template, and written by nobody else. */
export function attachableDisk(reader: Reader, { diskId, isReadOnly }: DiskAttachment): Disk {
  const disk = diskOf(reader, diskId)
  if (disk.status !== 'ok') throw new Fault('WRONG_STATE', `disk ${disk.name} is ${disk.status}`)
  if (disk.templateId !== '') throw new Fault('WRONG_STATE', `disk ${disk.name} belongs to a template`)
  if (disk.content === 'iso') {
    throw new Fault('WRONG_STATE', `disk ${disk.name} is an ISO image: put it into a CD-ROM drive instead`)
  }
  if (disk.vmId !== '' && !isReadOnly && !disk.isShareable) {
    const text = `disk ${disk.name} is attached to VM ${disk.vmId}, and only a shareable disk is written by several`
    throw new Fault('WRONG_STATE', text, {
      facts: { vm: disk.vmId }
    })
  }
  return disk
}

/** Slots of a VM that are taken, by disks and nics. */
export const takenSlots = (reader: Reader, vmId: string): number[] => [
  ...vmDisks(reader, vmId).flatMap(({ bus, slot }) => (bus === 'sata' ? [] : [slot])),
  ...vmNics(reader, vmId).map(({ slot }) => slot),
  ...vmLuns(reader, vmId).map(({ slot }) => slot)
]

/** A slot for each that needs one; SATA disks do not. */
export function slotsFor(taken: readonly number[], disks: ReadonlyArray<{ bus: string }>, nics: number) {
  const needed = disks.filter(({ bus }) => bus !== 'sata').length
  const free = freeSlots(taken, needed + nics)
  return {
    disks: disks.map(({ bus }) => (bus === 'sata' ? 0 : (free.shift() ?? 0))),
    nics: free
  }
}

/** A MAC address for each nic: the one asked for, if nobody has it, or a new one. */
export function macsFor(
  reader: Reader,
  nics: readonly NicAttachment[],
  vmId: string,
  random: () => number
): string[] {
  const given = new Set(nics.flatMap(({ mac }) => (mac === null ? [] : [mac])))
  const isTaken = (mac: string) => given.has(mac) || ownerOfMac(reader, mac) !== null
  return nics.map(({ mac }) => {
    if (mac === null) {
      const free = freeMac(isTaken, random)
      given.add(free)
      return free
    }
    const owner = ownerOfMac(reader, mac)
    if (owner === null || owner === vmId) return mac
    throw new Fault('ALREADY_EXISTS', `MAC address ${mac} belongs to VM ${owner}`, { facts: { vm: owner } })
  })
}

const wrong = ({ id, name }: Vm, what: string) =>
  new Fault('WRONG_STATE', `VM ${name} ${what}`, { facts: { vm: id } })
