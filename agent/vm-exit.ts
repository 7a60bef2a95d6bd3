import type { ExitReason, VmExit } from './vm-metadata.js'

/** What libvirt says at a domain's end: the detail of its last event, or the reason of its state. */
export type StopDetail =
  | 'shutdown'
  | 'destroyed'
  | 'crashed'
  | 'migrated'
  | 'saved'
  | 'failed'
  | 'from_snapshot'
  | 'daemon'
  | 'unknown'

/**
 * Why a VM is down. A guest that shut itself down, and what we asked for, are ends that were wanted; a QEMU
 * that vanished, or that somebody else destroyed (sanlock, when a lease is lost), is a failure. Pure.
 */
export function exitOf(
  detail: StopDetail,
  context: { asked: 'destroy' | 'shutdown' | 'giveUp' | null; byHostSignal: boolean; at: number }
): VmExit {
  const { asked, byHostSignal, at } = context
  const wanted = (reason: ExitReason): VmExit => ({ reason, at, fault: null })
  if (detail === 'migrated') return wanted('migrated')
  if (asked === 'destroy') return wanted('destroyed')
  if (asked === 'giveUp') return lost(at, 'the VM was without its storage for too long, and was ended here')
  switch (detail) {
    case 'shutdown':
    case 'saved':
      return byHostSignal && asked === null
        ? lost(at, 'QEMU was told to end, and not by Drover')
        : wanted('shutdown')
    case 'crashed':
    case 'failed':
      return {
        reason: 'crashed',
        at,
        fault: { reason: 'INTERRUPTED', message: 'QEMU ended unexpectedly', facts: {} }
      }
    case 'destroyed':
      return lost(at, 'the VM was destroyed, and not by Drover')
    default:
      return lost(at, 'the VM ended while nobody watched')
  }
}

export const lost = (at: number, message: string): VmExit => ({
  reason: 'lost',
  at,
  fault: { reason: 'INTERRUPTED', message, facts: {} }
})
