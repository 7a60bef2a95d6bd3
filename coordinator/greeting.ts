import { canonicalJson } from '../common/ids.js'
import type { DenyList } from './store/certificates.js'
import { enrolledHosts, hostOrNull } from './store/hosts.js'
import type { Reader } from './store/query.js'

/** What a host must know of the installation, and is told again when it changes. */
export type Greeting = {
  hostGeneration: string
  sanlockHostId: number
  peers: Array<{ hostId: string; address: string; sanlockHostId: number }>
  deniedSerials: string[]
  deniedHostIds: string[]
}

export function greetingFor(reader: Reader, hostId: string, { serials, hostIds }: DenyList): Greeting | null {
  const row = hostOrNull(reader, hostId)
  if (!row) return null
  const others = enrolledHosts(reader).filter(
    ({ id, address }) => id !== hostId && address !== '' && !hostIds.includes(id)
  )
  return {
    hostGeneration: String(row.generation),
    sanlockHostId: row.sanlockHostId,
    peers: others.map(({ id, address, sanlockHostId }) => ({ hostId: id, address, sanlockHostId })),
    deniedSerials: serials,
    deniedHostIds: hostIds
  }
}

const mostJump = 1_000_000

/**
 * The generation of a host, from the store and from the host's own word. A store that was restored can be older
 * than the host: commands of the time between are refused by their epoch, and the host goes on from its own.
 */
export function generationOf(recorded: number, told: number): number {
  return Number.isSafeInteger(told) && told - recorded <= mostJump ? Math.max(recorded, told) : recorded
}

export const sameGreeting = (a: Greeting, b: Greeting) => canonicalJson(a) === canonicalJson(b)
