import type { HostStats__Output } from '../../proto/generated/types/drover/agent/v1/HostStats.js'
import { currentCertificate } from '../store/certificates.js'
import { etagOf } from '../store/etag.js'
import { vmsOn, type Host } from '../store/hosts.js'
import type { Reader } from '../store/query.js'
import { enumOf, wireTime, wireTimeOrNull } from '../wire.js'

/** What is known of a host beside the store: measured, and too short-lived to be written. */
export type HostNow = {
  stats(hostId: string): HostStats__Output | null
  /** When it was last heard, wall clock; null in this life of the coordinator. */
  lastHeard(hostId: string): number | null
  /** What its agent is too old for. */
  lacks(hostId: string): string[]
}

export function hostMessage(reader: Reader, host: Host, now: HostNow) {
  const { id, power } = host
  const certificate = currentCertificate(reader, 'HOST', id)
  const devices = power.devices.map(({ fenceAgent, order = 0, options, secretNames }) => {
    const secretOptions = Object.fromEntries(secretNames.map(name => [name, '']))
    return { fenceAgent, order, options, secretOptions }
  })
  return {
    hostId: id,
    name: host.name,
    clusterId: host.clusterId,
    address: host.address,
    status: enumOf('HOST_STATUS', host.status),
    problem: host.problem || host.missing || unheard(host),
    sanlockHostId: host.sanlockHostId,
    hostGeneration: String(host.generation),
    powerManagement: { enabled: power.isEnabled, devices },
    capabilities: host.capabilities,
    stats: now.stats(id),
    runningVms: vmsOn(reader, id),
    lastSeen: wireTimeOrNull(now.lastHeard(id) ?? host.lastSeen),
    ...{ keepsPower: host.keepsPower === 1, rested: host.rested === 1 },
    certificateExpires: wireTimeOrNull(certificate?.notAfter ?? null),
    agentLacks: now.lacks(id),
    etag: etagOf(host),
    created: wireTime(host.created)
  }
}

/** It was enrolled, and nothing came of it yet: the next step is on that host. */
const unheard = ({ status, address }: Host) =>
  status === 'initializing'
    ? `enrolled, and not heard of yet: drover-agent must run there and be reachable at ${address}`
    : ''
