import { hostname, networkInterfaces } from 'node:os'
import { parseHostPort } from '../../common/address-rules.js'
import type { Clock } from '../../common/clock.js'
import type { Certificates } from '../../common/tls.js'
import type { CertificateAuthority } from './ca.js'

const day = 86_400

/** The coordinator's own certificate: made at each start with a new key, and again after two thirds of its life. */
export class OwnIdentity {
  readonly #ca: CertificateAuthority
  readonly #coordinatorId: string
  readonly #names: readonly string[]
  readonly #lifeSeconds: number
  readonly #clock: Clock
  #current: Certificates | null = null
  #renewAt = 0

  constructor(
    ca: CertificateAuthority,
    coordinatorId: string,
    names: readonly string[],
    lifeSeconds: number,
    clock: Clock
  ) {
    this.#ca = ca
    this.#coordinatorId = coordinatorId
    this.#names = names
    this.#lifeSeconds = Math.min(lifeSeconds, 30 * day)
    this.#clock = clock
  }

  get certificates(): Certificates {
    if (!this.#current) throw new Error('the coordinator has no certificate yet')
    return this.#current
  }

  /** Whether there are new certificates since the last call. */
  async renewIfDue(): Promise<boolean> {
    if (this.#clock.wall() < this.#renewAt) return false
    const subject = {
      role: 'COORDINATOR',
      id: this.#coordinatorId,
      names: this.#names,
      usages: ['server', 'client']
    } as const
    const { certificates, issued } = await this.#ca.issueWithKey(subject, this.#lifeSeconds)
    // Up to the root: a host that enrols knows only the root's fingerprint.
    this.#current = { ...certificates, certificate: certificates.certificate + certificates.trust }
    const now = this.#clock.wall()
    this.#renewAt = now + ((issued.notAfter - now) * 2) / 3
    return true
  }
}

/** Names of this machine: host name, addresses, and what the configuration adds. */
export function ownNames({ names, advertise }: { names: readonly string[]; advertise: string }): string[] {
  const advertised = parseHostPort(advertise)?.host
  const all = [
    hostname(),
    'localhost',
    'drover.internal',
    ...ownAddresses(),
    ...names,
    ...(advertised ? [advertised] : [])
  ]
  return [...new Set(all.map(name => name.replace(/%.*$/, '')))].filter(name => name !== '').slice(0, 100)
}

/** All addresses of this machine, loopback last. */
export function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  const usable = all.filter(({ scopeid }) => !scopeid)
  const sorted = usable.toSorted(
    (a, b) => Number(a.internal) - Number(b.internal) || (a.family < b.family ? -1 : 1)
  )
  return sorted.map(({ address }) => address)
}
