import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { parseHostPort } from '../common/address-rules.js'
import { systemClock } from '../common/clock.js'
import { Fault, isReason } from '../common/fault.js'
import { readRichStatus } from '../common/rich-status.js'
import type { EnrolRequest } from '../proto/generated/types/drover/v1/EnrolRequest.js'
import type { EnrolResponse__Output } from '../proto/generated/types/drover/v1/EnrolResponse.js'
import { coordinatorServices } from '../proto/load.js'
import { readBootId, readHardwareId } from './capabilities.js'
import { CertificateStore, newKey, throwIfForeign } from './certificates.js'
import { loadConfig } from './config.js'
import { IdentityFile } from './identity.js'
import { trustByFingerprint } from './pinned-tls.js'
import { standardConfig } from './serve.js'

const options = {
  'token-file': { type: 'string' },
  coordinator: { type: 'string' },
  'ca-fingerprint': { type: 'string' },
  address: { type: 'string' },
  config: { type: 'string', default: standardConfig }
} as const

/**
 * Makes this host one of an installation: a key made here, a certificate for it, and the id of the host. With
 * `isRecovery` a host whose certificate is lost or has expired becomes itself again.
 */
export async function enrol(args: string[], { isRecovery }: { isRecovery: boolean }): Promise<number> {
  const { values } = parseArgs({ args, options })
  const config = loadConfig(values.config)
  const coordinator = parseHostPort(values.coordinator ?? '')
  const fingerprint = values['ca-fingerprint'] ?? ''
  if (!coordinator || !/^(sha256:)?[0-9a-fA-F:]{64,95}$/.test(fingerprint) || !values['token-file']) {
    throw new Fault(
      'INVALID_REQUEST',
      '--token-file, --coordinator HOST:PORT and --ca-fingerprint sha256:HEX are needed'
    )
  }
  await mkdir(config.state_directory, { recursive: true, mode: 0o700 })
  const identity = await IdentityFile.load(`${config.state_directory}/identity.json`)
  const { hostId: known, installationId } = identity.now
  if (known !== null && !isRecovery) {
    throw new Fault(
      'WRONG_STATE',
      `this is host ${known} already; \`drover-agent recover\` renews what it lost`
    )
  }

  const token = (await readFile(values['token-file'], 'utf8')).trim()
  const signal = AbortSignal.timeout(30_000)
  const { trust, localAddress } = await trustByFingerprint({ ...coordinator, fingerprint }, signal)
  const address = values.address ?? defaultAddress(localAddress, config.listen)
  const { key, csr } = await newKey(hostname())
  const [hardwareId, bootId] = await Promise.all([readHardwareId(), readBootId()])
  const answer = await call(
    { ...coordinator, trust },
    { token, csr, hardwareId, bootId, address, hostname: hostname() }
  )
  if (isRecovery && known !== null && answer.hostId !== known) {
    throw new Fault('WRONG_STATE', `the token is for host ${answer.hostId}, and this is host ${known}`)
  }
  throwIfForeign(answer.certificatePem, key)
  const isSame = installationId === answer.installationId
  await identity.change({
    ...{ hostId: answer.hostId, installationId: answer.installationId, address },
    hostGeneration: Number(answer.hostGeneration),
    ...(isSame ? {} : { coordinatorEpoch: 0, peers: [], deniedSerials: [], deniedHostIds: [] })
  })
  // Last, for an agent that runs looks at these files.
  await new CertificateStore(`${config.state_directory}/tls`).save({
    ...{ key, certificate: answer.certificatePem, trust: answer.trustPem }
  })
  process.stdout.write(`enrolled as host ${answer.hostId}, address ${address}\n`)
  return 0
}

type Server = { host: string; port: number; trust: string }

async function call({ host, port, trust }: Server, request: EnrolRequest): Promise<EnrolResponse__Output> {
  const { Enrol: method } = coordinatorServices.enrolment
  // The chain is what counts: the certificate's names are the coordinator's identity, not where it was dialled.
  const secure = credentials.createSsl(Buffer.from(trust), null, null, {
    checkServerIdentity: () => undefined
  })
  const client = new Client(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`, secure)
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline: systemClock.wall() + 30_000 },
        (error, answer) => (answer ? resolve(answer as EnrolResponse__Output) : reject(faultOf(error)))
      )
    })
  } finally {
    client.close()
  }
}

function faultOf(error: ServiceError | null): Error {
  if (!error) return new Error('the coordinator gave no answer')
  const [details] = error.metadata.get('grpc-status-details-bin')
  const reason = Buffer.isBuffer(details) ? readRichStatus(details).reason : ''
  if (isReason(reason)) return new Fault(reason, error.details, { cause: error })
  const fallback = error.code === status.UNAVAILABLE ? 'HOST_UNREACHABLE' : 'PERMISSION_DENIED'
  return new Fault(fallback, `the coordinator refused: ${error.details}`, { cause: error })
}

function defaultAddress(local: string, listen: string): string {
  const port = listen.slice(listen.lastIndexOf(':') + 1)
  const host = local.replace(/^::ffff:/, '')
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
