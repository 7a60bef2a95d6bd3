import 'reflect-metadata'
import type { webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequest } from '@peculiar/x509'
import { Fault } from '../../common/fault.js'
import { algorithm } from './certificates.js'

/** The key of a certificate request, once it has proven that its sender has the private half. Names are ignored. */
export async function keyOfRequest(der: Buffer): Promise<webcrypto.CryptoKey> {
  try {
    const request = new Pkcs10CertificateRequest(Buffer.from(der))
    const { name, namedCurve } = request.publicKey.algorithm as { name?: string; namedCurve?: string }
    if (name === 'ECDSA' && namedCurve === 'P-256' && (await request.verify())) {
      return (await request.publicKey.export(algorithm, ['verify'])) as webcrypto.CryptoKey
    }
  } catch (error) {
    throw wrong(error)
  }
  throw wrong(null)
}

const description = 'must be a PKCS #10 request in DER, signed with its own P-256 key'
const wrong = (cause: unknown) =>
  new Fault('INVALID_REQUEST', `csr ${description}`, { cause, violations: [{ field: 'csr', description }] })
