import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator
} from '@peculiar/x509'
import type { Certificates } from '../../common/tls.js'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const day = 86_400_000

export type Leaf = {
  uris: string[]
  addresses?: string[]
  dns?: string[]
  notBefore?: Date
  notAfter?: Date
  commonName?: string
}

/** A throw-away certificate authority for tests. */
export async function authority(name = 'test authority') {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: `CN=${name}`,
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 10 * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new BasicConstraintsExtension(true, 1, true)]
  })
  const trust = root.toString('pem')

  /** A certificate with its key, good for client and server. */
  async function issue(leaf: Leaf): Promise<Certificates> {
    const own = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await X509CertificateGenerator.create({
      serialNumber: `0${randomBytes(7).toString('hex')}1`,
      subject: `CN=${leaf.commonName ?? 'leaf'}`,
      issuer: root.subject,
      notBefore: leaf.notBefore ?? new Date(Date.now() - day / 2),
      notAfter: leaf.notAfter ?? new Date(Date.now() + day),
      signingAlgorithm: algorithm,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new SubjectAlternativeNameExtension([
          ...leaf.uris.map(value => ({ type: 'url' as const, value })),
          ...(leaf.dns ?? []).map(value => ({ type: 'dns' as const, value })),
          ...(leaf.addresses ?? []).map(value => ({ type: 'ip' as const, value }))
        ]),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth])
      ]
    })
    const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', own.privateKey), 'PRIVATE KEY')
    return { trust, certificate: certificate.toString('pem'), key }
  }

  /** A certificate for the key of a request (PKCS #10, DER), as the coordinator makes one. */
  async function sign(
    request: Uint8Array,
    uri: string,
    notAfter = new Date(Date.now() + day)
  ): Promise<string> {
    const { publicKey } = new Pkcs10CertificateRequest(Buffer.from(request))
    const certificate = await X509CertificateGenerator.create({
      serialNumber: `0${randomBytes(7).toString('hex')}1`,
      subject: 'CN=renewed',
      issuer: root.subject,
      notBefore: new Date(Date.now() - day / 2),
      notAfter,
      signingAlgorithm: algorithm,
      publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new SubjectAlternativeNameExtension([{ type: 'url', value: uri }]),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth])
      ]
    })
    return certificate.toString('pem')
  }
  return { trust, issue, sign }
}
