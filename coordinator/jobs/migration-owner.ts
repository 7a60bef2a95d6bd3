import { unreachable } from '../../common/unreachable.js'

// Who has the VM after a migration was tried, whatever became of the call. PURE.

/** What one host says of the VM and this start of it. */
export type Sighting =
  | { kind: 'absent' }
  /** The host does not answer. */
  | { kind: 'silent' }
  /** The VM runs there, or is paused with all its memory. */
  | { kind: 'runs' }
  /** It is on its way out, and may still come back. */
  | { kind: 'leaving' }
  /** It is on its way in: memory arrives. */
  | { kind: 'arriving' }
  /** It is over there, with the reason the host gives. */
  | { kind: 'down'; reason: string }

export type Owner = 'source' | 'destination' | 'nobody' | 'unclear'

/**
 * Decides from what both hosts say now. Only a running copy owns the VM, or a source that certainly keeps it;
 * everything else is asked again. With a lease both can never say that they run it; without one the source,
 * which libvirt lets go of last, is believed when nothing has arrived.
 */
export function ownerOf(source: Sighting, destination: Sighting): Owner {
  if (destination.kind === 'runs') return 'destination'
  switch (source.kind) {
    case 'runs':
      return 'source'
    case 'leaving':
    case 'arriving':
    case 'silent':
      return 'unclear'
    case 'down':
    case 'absent':
      // After the switch-over the destination may need a moment more; a silent one may have it.
      return destination.kind === 'absent' || destination.kind === 'down' ? 'nobody' : 'unclear'
    default:
      return unreachable(source)
  }
}

/** Sorts the status words of a VM into what matters here. */
export function sightingOf(status: string, reason: string): Sighting {
  switch (status) {
    case 'migrating_from':
      return { kind: 'leaving' }
    case 'migrating_to':
    case 'wait_for_launch':
    case 'restoring_state':
      return { kind: 'arriving' }
    case 'down':
      return { kind: 'down', reason }
    default:
      return { kind: 'runs' }
  }
}
