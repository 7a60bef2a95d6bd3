import type { CpuLimits, DiskLimits, NetworkLimits } from '../common/limits.js'

/** A libvirt domain with every choice made: the input of domain-xml.ts. */
export type DomainSpec = {
  /** Also the id of the VM; its name in libvirt is derived from it. */
  uuid: string
  name: string
  /** Free text; stands in the title only. */
  title: string
  metadata: { prefix: string; uri: string; attributes: Record<string, string>; text: string }
  accelerator: 'kvm' | 'tcg'
  machineType: string
  vcpus: number
  memoryBytes: number
  /** A named model, or null for what suits the accelerator. */
  cpuModel: string | null
  firmware: FirmwareSpec
  disks: DiskSpec[]
  nics: NicSpec[]
  lease: LeaseSpec | null
  /** VNC on a socket of libvirt's choice; closed until a password is set that is valid. */
  graphics: { password: string } | null
  /** Null or absent here and below: no limit. */
  cpuLimits?: CpuLimits | null
}

export type FirmwareSpec =
  | { kind: 'bios' }
  /** The variables' file is made from the template at the first start, and is the VM's own. */
  | { kind: 'uefi'; loader: string; variablesTemplate: string; variables: string }

export type ChainLink = {
  kind: 'file' | 'block'
  path: string
  format: 'raw' | 'qcow2'
  /** The host's own device: libvirt gives it to QEMU for as long as the VM runs. */
  isLent?: true
}

export type DiskSpec = {
  diskId: string
  bus: 'virtio' | 'scsi' | 'sata'
  isCdrom: boolean
  isReadOnly: boolean
  /** PCI slot on virtio, unit on SCSI: 1 to 28. Not used on SATA. */
  slot: number
  /** Leaf first, down to the base; nothing is left to probing. Nothing: a CD-ROM drive that is empty. */
  chain: ChainLink[]
  /** Whether the storage can be read past the page cache. */
  hasDirectIo: boolean
  limits?: DiskLimits | null
  /** Place in the boot order, from 1; absent: its place in the list. */
  boot?: number
  /** Other VMs may write it too. */
  isShareable?: boolean
  /** A LUN that gets the guest's SCSI commands itself; those about reservations too, by a helper. */
  isLun?: boolean
  hasReservations?: boolean
}

export type NicSpec = {
  mac: string
  /** Null: no cable. */
  bridge: string | null
  /** PCI slot, 1 to 28. */
  slot: number
  limits?: NetworkLimits | null
}

export type LeaseSpec = { lockspace: string; key: string; path: string; offset: number }

export const userSlots = 28
export const mostSataDevices = 6
