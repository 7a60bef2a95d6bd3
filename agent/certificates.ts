import 'reflect-metadata'
import { Pkcs10CertificateRequestGenerator, X509Certificate } from '@peculiar/x509'
import { createPrivateKey, webcrypto } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { readIfThere, writeDurably } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import type { Certificates } from '../common/tls.js'
import { dhParameters } from './dh-parameters.js'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export type KeyAndRequest = { key: string; csr: Buffer }

/** A new key of this host, which never leaves it, and the request for its certificate. */
export async function newKey(commonName: string): Promise<KeyAndRequest> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const request = await Pkcs10CertificateRequestGenerator.create(
    { name: `CN=${commonName}`, keys, signingAlgorithm: algorithm },
    webcrypto as never
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({
    type: 'pkcs8',
    format: 'pem'
  })
  return { key: String(key), csr: Buffer.from(request.rawData) }
}

/** Key, certificate and trust of this host, in a folder of its own. */
export class CertificateStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The file whose change says that there is a new certificate. It is written last but the key. */
  get path(): string {
    return `${this.#folder}/host.key`
  }

  async load(): Promise<Certificates | null> {
    const [key, certificate, trust] = await Promise.all([
      readIfThere(`${this.#folder}/host.key`),
      readIfThere(`${this.#folder}/host.pem`),
      readIfThere(`${this.#folder}/trust.pem`)
    ])
    if (key === null || certificate === null || trust === null) return null
    return belongsTogether(certificate, key)
      ? { key, certificate, trust }
      : this.#interrupted(certificate, trust)
  }

  /** The key goes first, under another name: a crash before the certificate leaves the old pair whole. */
  async save({ key, certificate, trust }: Certificates): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await writeDurably(`${this.#folder}/next.key`, key)
    await writeDurably(`${this.#folder}/trust.pem`, trust, 0o644)
    await writeDurably(`${this.#folder}/host.pem`, certificate, 0o644)
    await writeDurably(`${this.#folder}/host.key`, key)
  }

  /** The key of a request under way, which survives a restart. */
  async keepNext(key: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    await writeDurably(`${this.#folder}/next.key`, key)
  }

  async nextKey(): Promise<string> {
    const key = await readIfThere(`${this.#folder}/next.key`)
    if (key === null) throw new Fault('WRONG_STATE', 'no certificate was asked for')
    return key
  }

  /** The agent died between certificate and key. */
  async #interrupted(certificate: string, trust: string): Promise<Certificates> {
    const key = await readIfThere(`${this.#folder}/next.key`)
    if (key === null || !belongsTogether(certificate, key)) {
      throw new Fault('NOT_ENROLLED', `key and certificate in ${this.#folder} do not belong together`)
    }
    await writeDurably(`${this.#folder}/host.key`, key)
    return { key, certificate, trust }
  }
}

/** A certificate handed over must be for the key that asked for it. */
export function throwIfForeign(certificate: string, key: string): void {
  if (belongsTogether(certificate, key)) return
  throw new Fault('INVALID_REQUEST', 'certificate_pem is not for the key of the last request', {
    violations: [{ field: 'certificate_pem', description: 'is not for the key of the last request' }]
  })
}

function belongsTogether(certificate: string, key: string): boolean {
  try {
    const ours = createPrivateKey(key).export({ format: 'jwk' })
    const spki = Buffer.from(new X509Certificate(firstOf(certificate)).publicKey.rawData)
    // The last 64 bytes of a P-256 public key are its two coordinates.
    const theirs = {
      x: spki.subarray(-64, -32).toString('base64url'),
      y: spki.subarray(-32).toString('base64url')
    }
    return ours.x === theirs.x && ours.y === theirs.y
  } catch {
    return false
  }
}

export function firstOf(pem: string): string {
  const end = '-----END CERTIFICATE-----'
  return `${pem.slice(0, pem.indexOf(end))}${end}\n`
}

/** What QEMU reads for the memory stream of a migration, as both server and client. */
export async function installMigrationCertificates(
  folder: string,
  certificates: Certificates
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const gid = await groupOfQemu()
  // QEMU checks its own certificate alone, without the chain behind it: the issuing CA must be among the trusted ones.
  const issuers = certificates.certificate.slice(firstOf(certificates.certificate).length)
  await writeDurably(`${folder}/ca-cert.pem`, `${issuers.trimStart()}${certificates.trust}`, 0o644)
  await writeDurably(`${folder}/dh-params.pem`, dhParameters, 0o644)
  for (const role of ['server', 'client']) {
    await writeDurably(`${folder}/${role}-cert.pem`, certificates.certificate, 0o644)
    await writeDurably(`${folder}/${role}-key.pem`, certificates.key, 0o640, gid)
  }
}

// Debian's name, and that of others.
const qemuGroups = ['libvirt-qemu', 'qemu']

/** QEMU reads the key itself, and does not run as root. Null where it has no group: then it does. */
export async function groupOfQemu(file = '/etc/group'): Promise<number | null> {
  const lines = ((await readIfThere(file)) ?? '').split('\n').map(line => line.split(':'))
  const found = qemuGroups.flatMap(name => lines.filter(([group]) => group === name))
  const gid = Number(found[0]?.[2])
  return Number.isSafeInteger(gid) && gid > 0 ? gid : null
}
