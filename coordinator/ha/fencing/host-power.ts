import type { Clock } from '../../../common/clock.js'
import { seconds, type Seconds } from '../../../common/units.js'
import type { RunFenceAgentRequest } from '../../../proto/generated/types/drover/agent/v1/RunFenceAgentRequest.js'
import { agentServices } from '../../../proto/load.js'
import type { Hosts } from '../../jobs/hosts.js'
import { host, hostsOfCluster, type FenceDevice, type Host } from '../../store/hosts.js'
import type { Secrets } from '../../store/secrets.js'
import type { Store } from '../../store/store.js'
import type { PowerState } from '../power-reading.js'
import { readPowerRound, switchPower, type PowerDevice, type RunFenceAgent } from './power.js'

export type HostPowerOptions = {
  store: Store
  clock: Clock
  hosts: Pick<Hosts, 'call'>
  secrets: Secrets
  isHeard(hostId: string): boolean
}

const actions = { status: 'FENCE_ACTION_STATUS', off: 'FENCE_ACTION_OFF', on: 'FENCE_ACTION_ON' } as const
const powerStates: Record<string, PowerState> = { POWER_STATE_ON: 'on', POWER_STATE_OFF: 'off' }
const limits: Record<keyof typeof actions, Seconds> = {
  status: seconds(15),
  off: seconds(60),
  on: seconds(60)
}

/** What a device is for: most switch power; one tells of a crash, one restarts the agent. */
export type DeviceKind = 'power' | 'kdump' | 'agent'
const kindOf = (fenceAgent: string): DeviceKind =>
  fenceAgent === 'fence_kdump' ? 'kdump' : fenceAgent === 'fence_drover_agent' ? 'agent' : 'power'

/** The power of hosts, through fence agents on the other hosts of their cluster. */
export class HostPower {
  readonly #options: HostPowerOptions

  constructor(options: HostPowerOptions) {
    this.#options = options
  }

  /** Whether the host has a device of that kind. */
  has({ power }: Pick<Host, 'power'>, kind: DeviceKind): boolean {
    return power.isEnabled && power.devices.some(({ fenceAgent }) => kindOf(fenceAgent) === kind)
  }

  /** One round over all devices of a host; empty where it has none. */
  read(hostId: string, signal: AbortSignal): Promise<PowerState[]> {
    return readPowerRound(this.#devices(hostId, 'power'), this.#proxies(hostId), this.#run, signal)
  }

  /** The command only; whether it worked, `read` tells. */
  switch(hostId: string, action: 'off' | 'on', signal: AbortSignal): Promise<void> {
    return switchPower(action, this.#devices(hostId, 'power'), this.#proxies(hostId), this.#run, signal)
  }

  /** Listens on another host for the message of the crash kernel, for as long as its fence agent does. */
  async awaitKdump(hostId: string, signal: AbortSignal): Promise<boolean> {
    const [device] = this.#devices(hostId, 'kdump')
    const [proxy] = this.#proxies(hostId)
    if (!device || proxy === undefined) return false
    return (await this.#run(proxy, device, 'off', signal)).succeeded
  }

  /** Restarts the host's agent by another way than the agent itself. */
  restartAgent(hostId: string, signal: AbortSignal): Promise<void> {
    return switchPower('on', this.#devices(hostId, 'agent'), this.#proxies(hostId), this.#run, signal)
  }

  #devices(hostId: string, kind: DeviceKind): PowerDevice[] {
    const { power }: Host = host(this.#options.store.read, hostId)
    if (!power.isEnabled) return []
    return power.devices
      .map((device, index) => this.#device(hostId, device, index))
      .filter(({ fenceAgent }) => kindOf(fenceAgent) === kind)
  }

  #device(hostId: string, { fenceAgent, order = 0, options, secretNames }: FenceDevice, index: number) {
    const { store, secrets } = this.#options
    return {
      fenceAgent,
      order,
      options,
      secretOptions: Object.fromEntries(
        secretNames.flatMap(name => {
          const secret = secrets.get(store.read, `host/${hostId}/${index}`, name)
          return secret ? [[name, secret] as const] : []
        })
      )
    }
  }

  #proxies(hostId: string): string[] {
    const { store, isHeard } = this.#options
    const others = hostsOfCluster(store.read, host(store.read, hostId).clusterId)
    return others.filter(({ id }) => id !== hostId && isHeard(id)).map(({ id }) => id)
  }

  readonly #run: RunFenceAgent = async (
    proxyHostId,
    { fenceAgent, options, secretOptions },
    action,
    signal
  ) => {
    const { clock, hosts } = this.#options
    const secrets = Object.entries(secretOptions).map(([name, secret]) => [name, secret.reveal()] as const)
    const request: RunFenceAgentRequest = {
      ...{ requestId: clock.newId(), fenceAgent, action: actions[action], options },
      ...{ secretOptions: Object.fromEntries(secrets), timeoutSeconds: limits[action] }
    }
    const within = AbortSignal.any([signal, AbortSignal.timeout((limits[action] + 5) * 1000)])
    const answer = await hosts.call(proxyHostId, agentServices.host.RunFenceAgent, request, within)
    return { ...answer, powerState: powerStates[answer.powerState] ?? 'unknown' }
  }
}
