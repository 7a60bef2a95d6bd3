import { createHash, type webcrypto } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { X509Certificate } from '@peculiar/x509'
import type { Clock } from '../../common/clock.js'
import { readIfThere, writeDurably } from '../../common/durable-file.js'
import { identityUri } from '../../common/identity.js'
import type { CallerRole } from '../../common/policy.js'
import type { Certificates } from '../../common/tls.js'
import {
  keysOf,
  leaf,
  newKeys,
  pemOf,
  privateKeyPem,
  selfSigned,
  serialOf,
  subordinate,
  type Authority
} from './certificates.js'

const day = 86_400_000
const year = 365 * day
const rootLife = 10 * year
const issuingLife = year
/** Clocks of hosts may be a little behind. */
export const backdating = 5 * 60_000

export type Issued = { serial: string; notAfter: number; chain: string; certificate: X509Certificate }
export type Subject = {
  role: CallerRole
  id: string
  names: readonly string[]
  usages: ReadonlyArray<'server' | 'client'>
}

/**
 * The CA of this installation: a root, whose fingerprint hosts are given at enrolment, and below it the one
 * that issues. Both lie in a folder of files, made at the first start.
 */
export class CertificateAuthority {
  readonly installationId: string
  readonly #folder: string
  readonly #clock: Clock
  readonly #root: Authority
  #issuing: Authority

  private constructor(
    folder: string,
    clock: Clock,
    installationId: string,
    root: Authority,
    issuing: Authority
  ) {
    this.#folder = folder
    this.#clock = clock
    this.installationId = installationId
    this.#root = root
    this.#issuing = issuing
  }

  /** Loads what is there; makes a new installation where nothing is. */
  static async open(folder: string, clock: Clock): Promise<CertificateAuthority> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const installationId = await installationOf(folder, clock)
    const root = (await loaded(folder, 'root')) ?? (await newRoot(folder, clock, installationId))
    const issuing =
      (await loaded(folder, 'issuing')) ?? (await newIssuing(folder, clock, installationId, root))
    return new CertificateAuthority(folder, clock, installationId, root, issuing)
  }

  /** What everybody trusts. */
  get trust(): string {
    return pemOf(this.#root.certificate)
  }

  /** "sha256:HEX" of the root. */
  get fingerprint(): string {
    return `sha256:${createHash('sha256').update(Buffer.from(this.#root.certificate.rawData)).digest('hex')}`
  }

  /** The issuing CA lives a year and gets a successor after two thirds of it. */
  async renewIssuing(): Promise<boolean> {
    const { notBefore, notAfter } = this.#issuing.certificate
    const due = notBefore.getTime() + ((notAfter.getTime() - notBefore.getTime()) * 2) / 3
    if (this.#clock.wall() < due) return false
    this.#issuing = await newIssuing(this.#folder, this.#clock, this.installationId, this.#root)
    return true
  }

  /** A certificate for somebody's key. The names are ours to write: nothing of a request is copied. */
  async issue(publicKey: webcrypto.CryptoKey, subject: Subject, lifeSeconds: number): Promise<Issued> {
    const now = this.#clock.wall()
    const end = Math.min(now + lifeSeconds * 1000, this.#issuing.certificate.notAfter.getTime())
    const certificate = await leaf(this.#issuing, {
      publicKey,
      notBefore: now - backdating,
      // Certificates count in whole seconds.
      notAfter: Math.floor(end / 1000) * 1000,
      commonName: `${subject.role.toLowerCase()} ${subject.id}`,
      uri: identityUri(this.installationId, subject.role, subject.id),
      names: subject.names,
      usages: subject.usages
    })
    return {
      certificate,
      serial: serialOf(certificate),
      notAfter: certificate.notAfter.getTime(),
      chain: pemOf(certificate) + pemOf(this.#issuing.certificate)
    }
  }

  /** A certificate with a key made here, for ourselves or an administrator. */
  async issueWithKey(
    subject: Subject,
    lifeSeconds: number
  ): Promise<{ certificates: Certificates; issued: Issued }> {
    const keys = await newKeys()
    const issued = await this.issue(keys.publicKey, subject, lifeSeconds)
    const certificates = { trust: this.trust, certificate: issued.chain, key: await privateKeyPem(keys) }
    return { certificates, issued }
  }
}

/** The id is in a file beside the CA, so that a certificate can be issued without opening the store. */
async function installationOf(folder: string, clock: Clock): Promise<string> {
  const known = await readIfThere(`${folder}/installation`)
  if (known !== null) return known.trim()
  const id = clock.newId()
  await writeDurably(`${folder}/installation`, `${id}\n`)
  return id
}

/** Key and certificate are one file, so that a crash never leaves one without the other. */
async function loaded(folder: string, name: string): Promise<Authority | null> {
  const text = await readIfThere(`${folder}/${name}.pem`)
  if (text === null) return null
  const start = text.indexOf('-----BEGIN CERTIFICATE-----')
  const certificate = new X509Certificate(text.slice(start))
  return { certificate, keys: await keysOf(text.slice(0, start), certificate) }
}

async function save(folder: string, name: string, { certificate, keys }: Authority): Promise<Authority> {
  await writeDurably(`${folder}/${name}.pem`, (await privateKeyPem(keys)) + pemOf(certificate))
  return { certificate, keys }
}

async function newRoot(folder: string, clock: Clock, installationId: string): Promise<Authority> {
  const keys = await newKeys()
  const life = { notBefore: clock.wall() - backdating, notAfter: clock.wall() + rootLife }
  const certificate = await selfSigned(`CN=Drover root ${installationId}`, keys, life)
  return save(folder, 'root', { certificate, keys })
}

async function newIssuing(
  folder: string,
  clock: Clock,
  installationId: string,
  root: Authority
): Promise<Authority> {
  const keys = await newKeys()
  const life = { notBefore: clock.wall() - backdating, notAfter: clock.wall() + issuingLife }
  const certificate = await subordinate(root, `CN=Drover issuing ${installationId}`, keys, life)
  return save(folder, 'issuing', { certificate, keys })
}
