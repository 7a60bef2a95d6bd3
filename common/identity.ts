import 'reflect-metadata'
import { SubjectAlternativeNameExtension, X509Certificate } from '@peculiar/x509'
import type { Clock } from './clock.js'
import { Fault } from './fault.js'
import { isUuid } from './ids.js'
import type { CallerRole } from './policy.js'

/** Who calls, and by which proof. */
export type Caller = {
  role: CallerRole
  /** Host id, coordinator id, or the name of an administrator or viewer; empty for the anonymous. */
  id: string
  /** The installation that issued the certificate; null through the unix socket. */
  installation: string | null
  /** Serial number of the certificate in lower-case hexadecimal; null without one. */
  serial: string | null
  /** Where the caller's connection comes from. */
  address: string
}

/** What a certificate says, before anybody decided whether to believe it. */
export type CertificateIdentity = {
  role: CallerRole
  id: string
  installation: string
  serial: string
  notBefore: number
  notAfter: number
}

/** Whose certificates count here. Asked at every call: a connection outlives what it was opened with. */
export type Trust = {
  /** The installation this daemon belongs to; null while it belongs to none. */
  installation(): string | null
  /** Whether a certificate or a host was revoked. */
  denies(identity: CertificateIdentity): boolean
}

const uri = /^drover:\/\/([0-9a-f-]{36})\/(host|coordinator|admin|viewer)\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})$/

/** Name that goes into a certificate. */
export const identityUri = (installation: string, role: CallerRole, id: string) =>
  `drover://${installation}/${role.toLowerCase()}/${id}`

/** Reads installation, role and id from DER: the one URI SAN, never the common name or printed text. */
export function readCertificateIdentity(der: Uint8Array): CertificateIdentity {
  const certificate = new X509Certificate(Buffer.from(der))
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? []
  const uris = names.filter(name => name.type === 'url')
  if (uris.length !== 1) throw refused(`the certificate has ${uris.length} URI names instead of one`)
  const [, installation = '', kind = '', id = ''] = uri.exec(uris[0]?.value ?? '') ?? []
  const named = kind === 'host' || kind === 'coordinator'
  if (!isUuid(installation) || (named && !isUuid(id))) throw refused('the certificate has a foreign name')
  return {
    role: kind.toUpperCase() as CallerRole,
    id,
    installation,
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: certificate.notBefore.getTime(),
    notAfter: certificate.notAfter.getTime()
  }
}

const mostCached = 1000

/** Turns peer certificates into callers. Parsing is remembered, judging is not. */
export class Identities {
  readonly #clock: Clock
  readonly #trust: Trust
  readonly #parsed = new Map<string, CertificateIdentity>()

  constructor(clock: Clock, trust: Trust) {
    this.#clock = clock
    this.#trust = trust
  }

  /** The caller behind a certificate whose chain TLS has verified; a Fault where it must not be believed. */
  ofCertificate(der: Uint8Array, fingerprint: string, address: string): Caller {
    const identity = this.#read(der, fingerprint)
    const { role, id, installation, serial } = identity
    const now = this.#clock.wall()
    if (now < identity.notBefore) throw refused('the certificate is not valid yet')
    if (now > identity.notAfter) throw refused('the certificate has expired')
    if (installation !== this.#trust.installation())
      throw refused('the certificate is of another installation')
    if (this.#trust.denies(identity)) throw refused('the certificate was revoked')
    return { role, id, installation, serial, address }
  }

  /** Whether a connection that stands must go: its certificate or host was revoked. */
  isDenied(der: Uint8Array, fingerprint: string): boolean {
    return this.#trust.denies(this.#read(der, fingerprint))
  }

  #read(der: Uint8Array, fingerprint: string): CertificateIdentity {
    const known = this.#parsed.get(fingerprint)
    if (known) return known
    const identity = readCertificateIdentity(der)
    if (this.#parsed.size >= mostCached) this.#parsed.clear()
    this.#parsed.set(fingerprint, identity)
    return identity
  }
}

export const localAdmin: Caller = {
  role: 'LOCAL_ADMIN',
  id: 'local',
  installation: null,
  serial: null,
  address: 'unix'
}

export const anonymous = (address: string): Caller => {
  return { role: 'ANONYMOUS', id: '', installation: null, serial: null, address }
}

const refused = (why: string) => new Fault('UNAUTHENTICATED', why)
