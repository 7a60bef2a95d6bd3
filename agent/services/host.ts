import { uuidRule, matchingRule } from '../../common/rules.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import { Secret } from '../../common/secret.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/agent/v1/HostService.js'
import type { FenceAction, FenceOutcome, FenceRequest } from '../fence.js'
import { stampOf } from '../gate.js'
import type { Host } from '../host.js'
import type { Peer } from '../identity.js'
import type { Requests } from '../requests.js'

export type Welcome = {
  hostGeneration: number
  sanlockHostId: number
  peers: Peer[]
  deniedSerials: string[]
  deniedHostIds: string[]
}
export type Renewal = { certificate: string; trust: string }

export type HostVerbs = {
  host: Host
  refresh(signal: AbortSignal): Promise<void>
  welcome(welcome: Welcome): Promise<void>
  deny(serials: string[], hostIds: string[]): Promise<void>
  beginRenewal(): Promise<Buffer>
  completeRenewal(renewal: Renewal): Promise<void>
  fence(request: FenceRequest, signal: AbortSignal): Promise<FenceOutcome>
}

const actions = [
  'FENCE_ACTION_STATUS',
  'FENCE_ACTION_OFF',
  'FENCE_ACTION_ON',
  'FENCE_ACTION_MONITOR'
] as const
const actionNames: Record<(typeof actions)[number], FenceAction> = {
  FENCE_ACTION_STATUS: 'status',
  FENCE_ACTION_OFF: 'off',
  FENCE_ACTION_ON: 'on',
  FENCE_ACTION_MONITOR: 'monitor'
}
const powerStates = {
  on: 'POWER_STATE_ON',
  off: 'POWER_STATE_OFF',
  unknown: 'POWER_STATE_UNSPECIFIED'
} as const

const serialRule = matchingRule(/^[0-9a-fA-F]{1,64}$/, 'must be hexadecimal')
const optionName = matchingRule(/^[a-z][a-z0-9_-]{0,63}$/, 'is not the name of an option') as (
  value: unknown
) => { value: string } | { wrong: string }
const optionValue = matchingRule(/^[^\0\n\r]{0,1024}$/, 'must be one line of at most 1024 characters')
const pem = /^-----BEGIN CERTIFICATE-----[\s\S]{1,60000}-----END CERTIFICATE-----\s*$/

const denyList = (fields: Fields) => ({
  deniedSerials: fields.each('deniedSerials', 10_000, serialRule).map(serial => serial.toLowerCase()),
  deniedHostIds: fields.each('deniedHostIds', 10_000, uuidRule)
})

export function hostService(verbs: HostVerbs, requests: Requests): Handlers<HostServiceDefinition> {
  return {
    getHost: unary({
      check: fields => fields.bool('refresh'),
      method: async (refresh, { signal }) => {
        if (refresh) await verbs.refresh(signal)
        return verbs.host.message()
      }
    }),
    welcome: unary({
      check: fields => ({
        stamp: stampOf(fields),
        hostGeneration: fields.integer('hostGeneration', 1, Number.MAX_SAFE_INTEGER),
        sanlockHostId: fields.integer('sanlockHostId', 1, 249),
        peers: fields.list('peers', 1000, peer => ({
          hostId: peer.uuid('hostId'),
          address: peer.matching('address', /^[^\s/]{1,250}:\d{1,5}$/, 'must be ADDRESS:PORT'),
          sanlockHostId: peer.integerOr('sanlockHostId', 0, 0, 249)
        })),
        ...denyList(fields)
      }),
      method: async ({ stamp, ...welcome }) => {
        const request = { stamp, kind: 'HostService.Welcome', content: welcome }
        await requests.once(request, async () => {
          await verbs.welcome(welcome)
          return {}
        })
        return { incarnation: verbs.host.incarnation }
      }
    }),
    updateDenyList: unary({
      check: fields => ({ stamp: stampOf(fields), ...denyList(fields) }),
      method: async ({ stamp, deniedSerials, deniedHostIds }) => {
        const request = {
          stamp,
          kind: 'HostService.UpdateDenyList',
          content: { deniedSerials, deniedHostIds }
        }
        return requests.once(request, async () => {
          await verbs.deny(deniedSerials, deniedHostIds)
          return {}
        })
      }
    }),
    ...renewal(verbs, requests),
    runFenceAgent: unary({
      check: fenceRequest,
      method: async ({ stamp, request, content }, { signal }) => {
        const answer = async () => {
          const { powerState, ...outcome } = await verbs.fence(request, signal)
          return { ...outcome, powerState: powerStates[powerState] }
        }
        if (stamp === null) return answer()
        return requests.once({ stamp, kind: 'HostService.RunFenceAgent', content }, answer)
      }
    })
  }
}

function renewal(verbs: HostVerbs, requests: Requests) {
  return {
    beginCertificateRenewal: unary({
      check: stampOf,
      method: async stamp => {
        const request = { stamp, kind: 'HostService.BeginCertificateRenewal', content: {} }
        const csr = await requests.once(request, async () => (await verbs.beginRenewal()).toString('base64'))
        return { csr: Buffer.from(csr, 'base64') }
      }
    }),
    completeCertificateRenewal: unary({
      check: fields => ({
        stamp: stampOf(fields),
        certificate: fields.matching('certificatePem', pem, 'must be a certificate in PEM'),
        trust: fields.matching('trustPem', pem, 'must be certificates in PEM')
      }),
      method: async ({ stamp, ...content }) => {
        const request = { stamp, kind: 'HostService.CompleteCertificateRenewal', content }
        return requests.once(request, async () => {
          await verbs.completeRenewal(content)
          return {}
        })
      }
    })
  }
}

/** Reading a power device changes nothing, and needs no request id. */
function fenceRequest(fields: Fields) {
  const action = actionNames[fields.choice('action', actions)]
  const isRead = action === 'status' || action === 'monitor'
  const options = fields.map('options', 32, optionName, optionValue)
  const secrets = fields.map('secretOptions', 8, optionName, optionValue)
  if (options.has('action') || secrets.has('action'))
    fields.refuse('options', 'must not contain "action"', null)
  const request: FenceRequest = {
    fenceAgent: fields.matching('fenceAgent', /^fence_[a-z0-9_]{1,60}$/, 'must be the name of a fence agent'),
    action,
    options,
    secretOptions: new Map([...secrets].map(([name, value]) => [name, new Secret(value)])),
    limit: seconds(fields.integerOr('timeoutSeconds', 60, 1, 300))
  }
  const content = { fenceAgent: request.fenceAgent, action, options: Object.fromEntries(options) }
  return { stamp: isRead && !fields.has('requestId') ? null : stampOf(fields), request, content }
}
