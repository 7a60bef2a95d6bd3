import type { Seconds } from '../../common/units.js'
import type { Host } from '../store/hosts.js'
import type { HostHealth, Proof } from './decide.js'

/**
 * The health of hosts as the loop works with it. The store has the words; since when, on the monotonic clock,
 * only this life of the coordinator knows, so after a restart every wait begins anew: that costs time, never
 * safety.
 */
export class Healths {
  readonly #known = new Map<string, HostHealth>()

  of(
    { id, health, proof, fences }: Pick<Host, 'id' | 'health' | 'proof' | 'fences'>,
    now: Seconds
  ): HostHealth {
    const known = this.#known.get(id)
    if (known && known.kind === wordOf(health)) return known
    const fresh = fromStore(wordOf(health), proof, fences, now)
    this.#known.set(id, fresh)
    return fresh
  }

  set(hostId: string, health: HostHealth): void {
    this.#known.set(hostId, health)
  }
}

/** A host that was never heard in this life is treated as one that has just become silent. */
const wordOf = (health: Host['health']): HostHealth['kind'] =>
  health === 'initializing' ? 'connecting' : health

function fromStore(kind: HostHealth['kind'], proof: string, fences: number, now: Seconds): HostHealth {
  switch (kind) {
    case 'up':
      return { kind }
    case 'connecting':
      return { kind, since: now }
    case 'non_responsive':
      return {
        ...{ kind, since: now, lastFence: fences > 0 ? now : null, fences },
        ...{ softFence: null, isShutOut: false }
      }
    case 'proven_stopped':
      return { kind, proof: isProof(proof) ? proof : 'operator' }
  }
}

const isProof = (text: string): text is Proof => ['power_off', 'kdump', 'operator', 'returned'].includes(text)
