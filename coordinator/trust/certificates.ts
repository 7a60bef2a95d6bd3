import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
  type JsonGeneralName
} from '@peculiar/x509'

// Making keys and certificates: P-256 everywhere.

export const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export type KeyPair = { publicKey: webcrypto.CryptoKey; privateKey: webcrypto.CryptoKey }
export type Authority = { certificate: X509Certificate; keys: KeyPair }
export type Life = { notBefore: number; notAfter: number }

export const newKeys = (): Promise<KeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<KeyPair>

export async function privateKeyPem({ privateKey }: Pick<KeyPair, 'privateKey'>): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', privateKey), 'PRIVATE KEY')}\n`
}

/** Both halves out of the private one. */
export async function keysOf(pem: string, certificate: X509Certificate): Promise<KeyPair> {
  const [der] = PemConverter.decode(pem)
  if (!der) throw new Error('the file of a private key is empty')
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign'])
  const spki = certificate.publicKey.rawData
  const publicKey = await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify'])
  return { publicKey, privateKey }
}

/** Positive, never zero, 127 bits of chance. */
function newSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}

export async function selfSigned(name: string, keys: KeyPair, { notBefore, notAfter }: Life) {
  return X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name,
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 1, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
}

/** A CA below another that issues leaves only. */
export async function subordinate(issuer: Authority, name: string, keys: KeyPair, life: Life) {
  return X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: name,
    issuer: issuer.certificate.subject,
    notBefore: new Date(life.notBefore),
    notAfter: new Date(life.notAfter),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey)
    ]
  })
}

export type Leaf = Life & {
  publicKey: webcrypto.CryptoKey
  commonName: string
  uri: string
  /** Host names and IP addresses. */
  names: readonly string[]
  usages: ReadonlyArray<'server' | 'client'>
}

export async function leaf(issuer: Authority, wanted: Leaf): Promise<X509Certificate> {
  const { serverAuth, clientAuth } = ExtendedKeyUsage
  return X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ CN: [wanted.commonName.slice(0, 64)] }],
    issuer: issuer.certificate.subject,
    notBefore: new Date(wanted.notBefore),
    notAfter: new Date(wanted.notAfter),
    signingAlgorithm: algorithm,
    publicKey: wanted.publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(wanted.usages.map(use => (use === 'server' ? serverAuth : clientAuth))),
      new SubjectAlternativeNameExtension([{ type: 'url', value: wanted.uri }, ...wanted.names.map(nameOf)]),
      await SubjectKeyIdentifierExtension.create(wanted.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey)
    ]
  })
}

const nameOf = (value: string): JsonGeneralName => ({ type: isIP(value) ? 'ip' : 'dns', value })

export const pemOf = (certificate: X509Certificate) => `${certificate.toString('pem').trimEnd()}\n`
export const serialOf = (certificate: X509Certificate) => certificate.serialNumber.toLowerCase()
