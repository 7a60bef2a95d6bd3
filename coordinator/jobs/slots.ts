import { Fault } from '../../common/fault.js'

// PCI slots and MAC addresses of a VM: given at attachment, kept for the VM's life. PURE.

const firstSlot = 1
const lastSlot = 28

/** The lowest slots that are free. Machines have 28 for disks and nics together. */
export function freeSlots(taken: readonly number[], count: number): number[] {
  const free: number[] = []
  for (let slot = firstSlot; slot <= lastSlot && free.length < count; slot++) {
    if (!taken.includes(slot)) free.push(slot)
  }
  if (free.length === count) return free
  throw new Fault(
    'INVALID_REQUEST',
    `a VM has ${lastSlot} PCI slots for disks and nics; ${taken.length} are taken and ${count} more are wanted`
  )
}

/** 52:54:00 and three bytes out of chance (0 up to 1). */
export function macFrom(chance: number): string {
  const number = Math.floor(chance * 2 ** 24) % 2 ** 24
  const bytes = [16, 8, 0].map(shift => ((number >> shift) & 0xff).toString(16).padStart(2, '0'))
  return ['52:54:00', ...bytes].join(':')
}

/** A MAC address that nobody has. */
export function freeMac(isTaken: (mac: string) => boolean, random: () => number): string {
  for (let tries = 0; tries < 1000; tries++) {
    const mac = macFrom(random())
    if (!isTaken(mac)) return mac
  }
  throw new Fault('LIMIT', 'no free MAC address was found')
}
