import { once } from 'node:events'
import { mkdir, readFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { formatHostPort, parseHostPort, type HostPort } from '../common/address-rules.js'
import { RpcClient } from '../common/client.js'
import { systemClock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { fetchPinnedRoot } from '../common/pinned-root.js'
import { coordinatorServices } from '../proto/load.js'
import { readBootId, readHardwareId } from './capabilities.js'
import { CertificateStore, newKey, throwIfForeign } from './certificates.js'
import { loadConfig } from './config.js'
import { IdentityFile } from './identity.js'
import { standardConfig } from './serve.js'

const noRuler = { coordinatorEpoch: 0, coordinatorIncarnation: '' }
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
  const trust = await fetchPinnedRoot(coordinator, `sha256:${digestIn(fingerprint)}`, signal)
  const address = values.address ?? (await defaultAddress(coordinator, config.listen, signal))
  const { key, csr } = await newKey(hostname())
  const [hardwareId, bootId] = await Promise.all([readHardwareId(), readBootId()])
  const expect = ({ role }: { role: string }) => role === 'COORDINATOR'
  using client = new RpcClient({ address: formatHostPort(coordinator), trust, expect }, systemClock)
  const request = { token, csr, hardwareId, bootId, address, hostname: hostname() }
  const answer = await client.call(coordinatorServices.enrolment.Enrol, request, signal)
  if (isRecovery && known !== null && answer.hostId !== known) {
    throw new Fault('WRONG_STATE', `the token is for host ${answer.hostId}, and this is host ${known}`)
  }
  throwIfForeign(answer.certificatePem, key)
  const isSame = installationId === answer.installationId
  await identity.change({
    ...{ hostId: answer.hostId, installationId: answer.installationId, address },
    hostGeneration: Number(answer.hostGeneration),
    ...(isSame ? {} : { ...noRuler, peers: [], deniedSerials: [], deniedHostIds: [] })
  })
  // Last, for an agent that runs looks at these files.
  await new CertificateStore(`${config.state_directory}/tls`).save({
    ...{ key, certificate: answer.certificatePem, trust: answer.trustPem }
  })
  process.stdout.write(`enrolled as host ${answer.hostId}, address ${address}\n`)
  return 0
}

const digestIn = (fingerprint: string) =>
  fingerprint
    .replace(/^sha256:/, '')
    .replaceAll(':', '')
    .toLowerCase()

/** The address of this host on the way to the coordinator, with the port on which the agent listens. */
async function defaultAddress(
  { host, port }: HostPort,
  listen: string,
  signal: AbortSignal
): Promise<string> {
  const socket = createConnection({ host, port })
  try {
    await once(socket, 'connect', { signal })
    const local = (socket.localAddress ?? '').replace(/^::ffff:/, '')
    return formatHostPort({ host: local, port: Number(listen.slice(listen.lastIndexOf(':') + 1)) })
  } finally {
    socket.destroy()
  }
}
