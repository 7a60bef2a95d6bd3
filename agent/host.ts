import type { GetHostResponse } from '../proto/generated/types/drover/agent/v1/GetHostResponse.js'
import type { HostStats as WireStats } from '../proto/generated/types/drover/agent/v1/HostStats.js'
import type { Capabilities } from './capabilities.js'
import type { HostStats } from './host-stats.js'
import type { IdentityFile } from './identity.js'
import { wireTime } from './wire.js'

/** What the host says of itself, and when it last changed. */
export class Host {
  readonly incarnation: string
  readonly #identity: IdentityFile
  readonly #onChange: () => void
  capabilities: Capabilities | null = null
  stats: HostStats | null = null
  #isRecovering = true

  constructor(incarnation: string, identity: IdentityFile, onChange: () => void) {
    this.incarnation = incarnation
    this.#identity = identity
    this.#onChange = onChange
  }

  get isRecovering(): boolean {
    return this.#isRecovering
  }

  recovered(): void {
    this.#isRecovering = false
    this.#onChange()
  }

  learn(capabilities: Capabilities): void {
    this.capabilities = capabilities
    this.#onChange()
  }

  message(): GetHostResponse {
    const { hostId, hostGeneration, coordinatorEpoch } = this.#identity.now
    const { capabilities, stats } = this
    return {
      hostId: hostId ?? '',
      hostGeneration: String(hostGeneration),
      coordinatorEpoch: String(coordinatorEpoch),
      incarnation: this.incarnation,
      capabilities: capabilities && { ...capabilities, memoryBytes: String(capabilities.memoryBytes) },
      stats: stats && hostStatsMessage(stats),
      recovering: this.#isRecovering
    }
  }
}

export function hostStatsMessage(stats: HostStats): WireStats {
  return {
    time: wireTime(stats.at),
    cpuPercent: stats.cpuPercent,
    load_1min: stats.load1,
    memoryAvailableBytes: String(stats.memoryAvailable),
    memoryTotalBytes: String(stats.memoryTotal),
    swapUsedBytes: String(stats.swapUsed),
    stateFreeBytes: String(stats.stateFree),
    eventLoopLagMs: stats.eventLoopLagMs
  }
}
