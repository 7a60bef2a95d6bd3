import { randomUUID } from 'node:crypto'

/** A guest without disks that only runs its firmware: all that libvirt and QEMU need. */
export function tinyGuest({
  uuid = randomUUID() as string,
  name = `t-${uuid.slice(0, 8)}`,
  devices = '',
  os = '',
  memoryMiB = 16
} = {}) {
  const xml = `
<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>${os}</os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <console type='pty'/>
    <memballoon model='virtio'/>
    ${devices}
  </devices>
</domain>`
  return { uuid, name, xml }
}
