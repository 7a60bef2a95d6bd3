import { createHash, randomBytes } from 'node:crypto'
import { parseHostPort } from '../../common/address-rules.js'
import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import {
  allowHost,
  enrolmentToken,
  insertCertificate,
  putEnrolmentToken,
  revokeCertificates,
  useEnrolmentToken
} from '../store/certificates.js'
import { addEvent } from '../store/events.js'
import { host, hosts, nextHostGeneration, updateHost, type Host } from '../store/hosts.js'
import type { Reader, Tx } from '../store/query.js'
import type { Store } from '../store/store.js'
import type { CertificateAuthority, Issued } from './ca.js'
import { keyOfRequest } from './csr.js'
import type { Denied } from './denied.js'
import type { RateLimit } from './rate-limit.js'

export type EnrolRequest = {
  token: string
  csr: Buffer
  hardwareId: string
  hostname: string
  address: string
  bootId: string
}
export type Enrolled = { hostId: string; hostGeneration: number; certificate: string }

type Options = {
  store: Store
  ca: CertificateAuthority
  denied: Denied
  clock: Clock
  lifeSeconds: number
  tokenSeconds: number
  tries: RateLimit
}

/** How hosts come to their certificates: a single-use token and a key that never leaves the host. */
export class Enrolment {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** A token for a host; those it had before no longer count. The store keeps a digest only. */
  newToken(tx: Tx, hostId: string): string {
    const { clock, tokenSeconds } = this.#options
    const token = `drover-${randomBytes(32).toString('base64url')}`
    const created = clock.wall()
    putEnrolmentToken(tx, {
      ...{ hash: digestOf(token), hostId, created },
      expires: created + tokenSeconds * 1000
    })
    return token
  }

  /** Exchanges token and certificate request for a certificate, once. */
  async enrol(request: EnrolRequest, from: string): Promise<Enrolled> {
    const { store, tries, denied } = this.#options
    tries.throwIfExceeded(from)
    const hostId = this.#hostOfToken(store.read, request.token)
    const publicKey = await keyOfRequest(request.csr)
    const issued = await this.#issue(publicKey, hostId, request.address, request.hostname)
    const enrolled = store.transaction(tx => {
      // Once more, and now it counts: of two with the same token one is too late.
      this.#hostOfToken(tx, request.token)
      return this.#take(tx, host(tx, hostId), request, issued, from)
    })
    denied.refresh(store.read)
    return enrolled
  }

  /** A new certificate for a host that has a valid one, with a new key. */
  async renew(hostId: string, csr: Buffer): Promise<Issued> {
    const { store, clock } = this.#options
    const { address, capabilities } = host(store.read, hostId)
    const publicKey = await keyOfRequest(csr)
    const issued = await this.#issue(publicKey, hostId, address, capabilities?.hostname ?? '')
    store.transaction(tx => {
      insertCertificate(tx, recordOf(hostId, issued, clock.wall()))
    })
    return issued
  }

  #hostOfToken(reader: Reader, token: string): string {
    const known = enrolmentToken(reader, digestOf(token))
    const isValid = known !== null && known.used === null && known.expires > this.#options.clock.wall()
    if (isValid) return known.hostId
    throw new Fault('PERMISSION_DENIED', 'the token is not known, was used, or has expired')
  }

  #issue(
    publicKey: Parameters<CertificateAuthority['issue']>[0],
    id: string,
    address: string,
    hostname: string
  ) {
    const { ca, lifeSeconds } = this.#options
    const names = [parseHostPort(address)?.host ?? '', hostname].filter(isName)
    const subject = { role: 'HOST', id, names: [...new Set(names)], usages: ['server', 'client'] } as const
    return ca.issue(publicKey, subject, lifeSeconds)
  }

  #take(tx: Tx, { id, name, mode }: Host, request: EnrolRequest, issued: Issued, from: string): Enrolled {
    const now = this.#options.clock.wall()
    useEnrolmentToken(tx, digestOf(request.token), now)
    insertCertificate(tx, recordOf(id, issued, now))
    revokeCertificates(tx, 'HOST', id, now, issued.serial)
    allowHost(tx, id)
    const { address, hardwareId, bootId } = request
    updateHost(tx, id, {
      ...{ address, hardwareId, bootId },
      mode: mode === 'pending' ? 'active' : mode,
      ...{ incarnation: '', sequence: 0, health: 'initializing', healthSince: now }
    })
    const hostGeneration = nextHostGeneration(tx, id)
    const objects = { host: id }
    const text = `host ${name} was enrolled from ${from} with the address ${address}`
    addEvent(tx, { severity: 'info', kind: 'host.enrolled', text, objects, actor: `host/${id}` }, now)
    const twin = hosts(tx).find(
      other => other.id !== id && hardwareId !== '' && other.hardwareId === hardwareId
    )
    if (twin) {
      const warning = `hosts ${name} and ${twin.name} have the same hardware id ${hardwareId}`
      addEvent(tx, { severity: 'warning', kind: 'host.same_hardware', text: warning, objects }, now)
    }
    return { hostId: id, hostGeneration, certificate: issued.chain }
  }
}

const digestOf = (token: string) => createHash('sha256').update(token).digest('hex')
const isName = (name: string) => /^[A-Za-z0-9.:-]{1,253}$/.test(name)

const recordOf = (name: string, { serial, notAfter }: Issued, issued: number) => {
  return { serial, role: 'HOST', name, notAfter, issued, revoked: null }
}
