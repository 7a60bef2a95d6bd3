import type { ChainLink, DiskSpec, DomainSpec, NicSpec } from './domain-spec.js'
import { userSlots } from './domain-spec.js'
import { bandwidthElement, cpuTuneElement, ioTuneElement } from './limits-xml.js'
import { element, textElement, writeXml, type XmlElement } from './xml.js'

/*
 * A VM in libvirt's words. Pure; one spec always gives the same text.
 *
 * The PCI topology never changes in a VM's life, whatever is plugged or unplugged:
 *
 *   bus 0   01.0         video
 *           02.0 – 05.7  32 root ports; behind port N, alone on its bus, sits the device of slot N:
 *                          1 – 28  disks and nics, by the slot in their spec
 *                          29 virtio-serial · 30 balloon · 31 random numbers · 32 virtio-scsi
 *           1d.0         USB, if there is a screen (for the tablet)
 *           1f.x         what a q35 brings with it
 */

const ports = { serial: userSlots + 1, balloon: userSlots + 2, random: userSlots + 3, scsi: userSlots + 4 }
const allPorts = userSlots + 4

export function domainXml(spec: DomainSpec): string {
  const { prefix, uri, attributes, text } = spec.metadata
  return writeXml(
    element(
      'domain',
      { type: spec.accelerator === 'kvm' ? 'kvm' : 'qemu' },
      textElement('name', spec.name),
      textElement('uuid', spec.uuid),
      textElement('title', spec.title),
      element('metadata', {}, textElement(`${prefix}:vm`, text, { [`xmlns:${prefix}`]: uri, ...attributes })),
      textElement('memory', spec.memoryBytes, { unit: 'b' }),
      textElement('currentMemory', spec.memoryBytes, { unit: 'b' }),
      textElement('vcpu', spec.vcpus),
      cpuTuneElement(spec),
      osElement(spec),
      element('features', {}, element('acpi'), element('apic')),
      cpuElement(spec),
      clockElement(spec),
      textElement('on_poweroff', 'destroy'),
      textElement('on_reboot', 'restart'),
      textElement('on_crash', 'destroy'),
      element(
        'pm',
        {},
        element('suspend-to-mem', { enabled: false }),
        element('suspend-to-disk', { enabled: false })
      ),
      devicesElement(spec)
    )
  )
}

/** The same screen with another password: everything but that must stay as it is. */
export function graphicsXml(socket: string, password: string, validTo: string): string {
  return writeXml(
    element(
      'graphics',
      { type: 'vnc', socket, passwd: password, passwdValidTo: validTo, connected: 'keep' },
      element('listen', { type: 'socket', socket })
    )
  )
}

function osElement({ machineType, firmware }: DomainSpec): XmlElement {
  const type = textElement('type', 'hvm', { arch: 'x86_64', machine: machineType })
  if (firmware.kind === 'bios') {
    return element('os', {}, type, element('bios', { useserial: true }))
  }
  const loader = textElement('loader', firmware.loader, { readonly: true, type: 'pflash' })
  const variables = textElement('nvram', firmware.variables, { template: firmware.variablesTemplate })
  return element('os', {}, type, loader, variables)
}

function cpuElement({ cpuModel, accelerator }: DomainSpec): XmlElement {
  if (cpuModel !== null) {
    const model = textElement('model', cpuModel, { fallback: 'forbid' })
    return element('cpu', { mode: 'custom', match: 'exact', check: 'partial' }, model)
  }
  return element('cpu', { mode: accelerator === 'kvm' ? 'host-model' : 'maximum' })
}

/** An emulated machine has no ticks to catch up with. */
function clockElement({ accelerator }: DomainSpec): XmlElement {
  const isReal = accelerator === 'kvm'
  return element(
    'clock',
    { offset: 'utc' },
    isReal && element('timer', { name: 'rtc', tickpolicy: 'catchup' }),
    isReal && element('timer', { name: 'pit', tickpolicy: 'delay' }),
    element('timer', { name: 'hpet', present: false })
  )
}

function devicesElement(spec: DomainSpec): XmlElement {
  const hasScsi = spec.disks.some(({ bus, isCdrom }) => bus === 'scsi' && !isCdrom)
  const hasScreen = spec.graphics !== null
  return element(
    'devices',
    {},
    textElement('emulator', '/usr/bin/qemu-system-x86_64'),
    ...diskElements(spec.disks),
    element('controller', { type: 'pci', index: 0, model: 'pcie-root' }),
    ...Array.from({ length: allPorts }, (_, index) => rootPort(index + 1)),
    element('controller', { type: 'sata', index: 0 }, pci(0, 0x1f, 2)),
    element('controller', { type: 'virtio-serial', index: 0 }, behind(ports.serial)),
    hasScsi && element('controller', { type: 'scsi', index: 0, model: 'virtio-scsi' }, behind(ports.scsi)),
    hasScreen
      ? element('controller', { type: 'usb', index: 0, model: 'qemu-xhci', ports: 8 }, pci(0, 0x1d, 0))
      : element('controller', { type: 'usb', index: 0, model: 'none' }),
    leaseElement(spec),
    ...spec.nics.map(nicElement),
    ...serialElements(),
    guestAgentChannel(),
    ...screenElements(spec),
    element(
      'memballoon',
      { model: 'virtio', autodeflate: 'on' },
      element('stats', { period: 5 }),
      alias('balloon'),
      behind(ports.balloon)
    ),
    element(
      'rng',
      { model: 'virtio' },
      textElement('backend', '/dev/urandom', { model: 'random' }),
      alias('random'),
      behind(ports.random)
    ),
    element('panic', { model: 'isa' })
  )
}

/** Eight ports share one slot of bus 0. Numbers and chassis are given, so that no libvirt numbers them anew. */
function rootPort(index: number): XmlElement {
  const slot = 2 + Math.floor((index - 1) / 8)
  const functionNumber = (index - 1) % 8
  const multifunction = functionNumber === 0 ? 'on' : null
  return element(
    'controller',
    { type: 'pci', index, model: 'pcie-root-port' },
    element('model', { name: 'pcie-root-port' }),
    element('target', { chassis: index, port: hex(slot * 8 + functionNumber) }),
    pci(0, slot, functionNumber, { multifunction })
  )
}

/** Names of disks in libvirt, by which they are spoken of while the VM runs. */
export function diskTargets(disks: ReadonlyArray<Pick<DiskSpec, 'bus' | 'isCdrom'>>): string[] {
  const used = { vd: 0, sd: 0 }
  return disks.map(({ bus, isCdrom }) => {
    const prefix = !isCdrom && bus === 'virtio' ? 'vd' : 'sd'
    return prefix + letters(used[prefix]++)
  })
}

/** One disk of a VM by itself, as its XML has it: what a change of its medium is asked for with. */
export function diskXml(disks: DiskSpec[], index: number): string {
  const found = diskElements(disks)[index]
  if (!found) throw new RangeError(`there are ${disks.length} disks`)
  return writeXml(found)
}

/** Targets count through each kind of name, `vda` and `sda`. */
function diskElements(disks: DiskSpec[]): XmlElement[] {
  const targets = diskTargets(disks)
  let sata = 0
  return disks.map((disk, index) => {
    const bus = disk.isCdrom ? 'sata' : disk.bus
    const target = targets[index] ?? ''
    const sataUnit = bus === 'sata' ? sata++ : 0
    const [leaf, ...below] = disk.chain
    return element(
      'disk',
      {
        type: leaf?.kind ?? 'file',
        device: disk.isCdrom ? 'cdrom' : disk.isLun ? 'lun' : 'disk',
        snapshot: 'no'
      },
      driverElement(disk, leaf),
      leaf && sourceElement(leaf, disk.hasReservations),
      leaf && backingStore(below),
      element('target', { dev: target, bus }),
      ioTuneElement(disk.limits),
      (disk.isReadOnly || disk.isCdrom) && element('readonly'),
      (disk.isShareable ?? false) && element('shareable'),
      // A LUN of its own has its own.
      !disk.isLun && textElement('serial', disk.diskId),
      element('boot', { order: disk.boot ?? index + 1 }),
      alias(disk.diskId),
      bus === 'virtio'
        ? behind(disk.slot)
        : element('address', driveAddress(bus === 'sata' ? sataUnit : disk.slot - 1))
    )
  })
}

/**
 * A guest stops at an I/O error instead of seeing it; it goes on when the storage does. A CD-ROM drive is the same
 * whatever is in it, for libvirt changes only its source: so nothing of the storage is said.
 */
function driverElement({ hasDirectIo, isCdrom }: DiskSpec, leaf: ChainLink | undefined): XmlElement {
  if (isCdrom) return element('driver', { name: 'qemu', type: leaf?.format ?? 'raw', error_policy: 'report' })
  return element('driver', {
    name: 'qemu',
    type: leaf?.format ?? 'raw',
    cache: hasDirectIo ? 'none' : 'writethrough',
    error_policy: 'stop',
    io: hasDirectIo ? 'native' : 'threads',
    discard: 'unmap'
  })
}

/** Owner and labels of a volume are the storage domain's business, on all hosts alike. */
function sourceElement({ kind, path, isLent }: ChainLink, hasReservations = false): XmlElement {
  return element(
    'source',
    kind === 'file' ? { file: path } : { dev: path },
    !isLent && element('seclabel', { model: 'dac', relabel: false }),
    hasReservations && element('reservations', { managed: true })
  )
}

/** The whole chain, closed by an empty element: QEMU follows no header that a guest could have written. */
function backingStore([next, ...below]: ChainLink[]): XmlElement {
  if (!next) return element('backingStore')
  return element(
    'backingStore',
    { type: next.kind },
    element('format', { type: next.format }),
    sourceElement(next),
    backingStore(below)
  )
}

/** Without a cable the tap device belongs to no bridge and the link is down. */
function nicElement({ mac, bridge, slot, limits }: NicSpec): XmlElement {
  return element(
    'interface',
    { type: bridge === null ? 'ethernet' : 'bridge' },
    element('mac', { address: mac }),
    bridge !== null && element('source', { bridge }),
    element('model', { type: 'virtio' }),
    bandwidthElement(limits),
    element('link', { state: bridge === null ? 'down' : 'up' }),
    alias(`nic-${mac.replaceAll(':', '')}`),
    behind(slot)
  )
}

function serialElements(): XmlElement[] {
  return [
    element('serial', { type: 'pty' }, element('target', { type: 'isa-serial', port: 0 }), alias('serial')),
    element('console', { type: 'pty' }, element('target', { type: 'serial', port: 0 }))
  ]
}

function guestAgentChannel(): XmlElement {
  return element(
    'channel',
    { type: 'unix' },
    element('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' }),
    alias('guest-agent'),
    element('address', { type: 'virtio-serial', controller: 0, bus: 0, port: 1 })
  )
}

/** A password that was valid in 1970 lets nobody in: the first console ticket sets another. */
function screenElements({ graphics }: DomainSpec): XmlElement[] {
  if (graphics === null) return [element('video', {}, element('model', { type: 'none' }))]
  return [
    element('input', { type: 'tablet', bus: 'usb' }),
    element(
      'graphics',
      { type: 'vnc', passwd: graphics.password, passwdValidTo: '1970-01-01T00:00:01' },
      element('listen', { type: 'socket' })
    ),
    element(
      'video',
      {},
      element('model', { type: 'vga', vram: 16384, heads: 1, primary: true }),
      pci(0, 1, 0)
    )
  ]
}

function leaseElement({ lease }: DomainSpec): XmlElement | null {
  if (lease === null) return null
  return element(
    'lease',
    {},
    textElement('lockspace', lease.lockspace),
    textElement('key', lease.key),
    element('target', { path: lease.path, offset: lease.offset })
  )
}

/** Names that libvirt does not touch begin with `ua-`. */
const alias = (name: string) => element('alias', { name: `ua-${name}` })

const behind = (port: number) => pci(port, 0, 0)

const pci = (bus: number, slot: number, functionNumber: number, more = {}) =>
  element('address', {
    type: 'pci',
    domain: '0x0000',
    bus: hex(bus),
    slot: hex(slot),
    function: hex(functionNumber),
    ...more
  })

const driveAddress = (unit: number) => ({ type: 'drive', controller: 0, bus: 0, target: 0, unit })

const hex = (number: number) => `0x${number.toString(16)}`

/** a … z, aa … */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26))
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last
}
