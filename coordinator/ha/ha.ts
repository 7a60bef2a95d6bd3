import { sleep, type Clock } from '../../common/clock.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import type { RunFenceAgentRequest } from '../../proto/generated/types/drover/agent/v1/RunFenceAgentRequest.js'
import type { Hosts } from '../jobs/hosts.js'
import type { AllJobs } from '../jobs/kinds.js'
import type { Host } from '../store/hosts.js'
import type { Secrets } from '../store/secrets.js'
import type { Store } from '../store/store.js'
import { LeaseClearing } from './clear-leases.js'
import type { PowerDevice, RunFenceAgent } from './fencing/power.js'
import { LeaseReports } from './lease-reports.js'
import { HaLoop } from './loop.js'
import type { PowerState } from './power-reading.js'
import { StoreWorld } from './store-world.js'

export type HaOptions = {
  store: Store
  clock: Clock
  log: Logger
  jobs: AllJobs
  hosts: Pick<Hosts, 'call' | 'runTask'>
  secrets: Secrets
  /** Whether the host's stream is up and its last heartbeat is fresh (3 s). */
  isHeard(hostId: string): boolean
}

const actions = { status: 'FENCE_ACTION_STATUS', off: 'FENCE_ACTION_OFF', on: 'FENCE_ACTION_ON' } as const
const powerStates: Record<string, PowerState> = { POWER_STATE_ON: 'on', POWER_STATE_OFF: 'off' }
const statusLimit = seconds(15)
const switchLimit = seconds(60)

/** High availability, composed: the loop, its world, and the clearing of leases. */
export class Ha {
  readonly #loop: HaLoop
  readonly #clearing: LeaseClearing
  readonly #clock: Clock

  constructor({ store, clock, log, jobs, hosts, secrets, isHeard }: HaOptions) {
    const leases = new LeaseReports(store, isHeard)
    const devices = (host: Host) => devicesOf(host, secrets, store)
    const world = new StoreWorld({
      ...{ store, clock, jobs, isHeard, leases, devices },
      runFenceAgent: fenceAgentsOn(hosts, clock)
    })
    this.#clock = clock
    this.#loop = new HaLoop(world, clock, log)
    const offSince = (hostId: string) => this.#loop.offSince(hostId)
    this.#clearing = new LeaseClearing({ store, clock, hosts, leases, log, offSince })
  }

  /** Until the coordinator stops. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([this.#loop.run(stop), this.#clear(stop)])
  }

  async #clear(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#clearing.tick(stop)
      await sleep(this.#clock, seconds(1), stop).catch(() => {})
    }
  }

  missing(hostId: string): string {
    return this.#loop.missing(hostId)
  }
}

/** With their secrets, for the moment of a call. */
export function devicesOf(host: Host, secrets: Secrets, store: Store): PowerDevice[] {
  if (!host.power.isEnabled) return []
  return host.power.devices.map(({ fenceAgent, options, secretNames }, index) => ({
    fenceAgent,
    options,
    secretOptions: Object.fromEntries(
      secretNames.flatMap(name => {
        const secret = secrets.get(store.read, `host/${host.id}/${index}`, name)
        return secret ? [[name, secret] as const] : []
      })
    )
  }))
}

/** Fence agents, run on the host that is named. */
export function fenceAgentsOn(hosts: Pick<Hosts, 'call'>, clock: Clock): RunFenceAgent {
  return async (proxyHostId, { fenceAgent, options, secretOptions }, action, signal) => {
    const limit: Seconds = action === 'status' ? statusLimit : switchLimit
    const request: RunFenceAgentRequest = {
      requestId: clock.newId(),
      fenceAgent,
      action: actions[action],
      options,
      secretOptions: Object.fromEntries(
        Object.entries(secretOptions).map(([name, it]) => [name, it.reveal()])
      ),
      timeoutSeconds: limit
    }
    const within = AbortSignal.any([signal, AbortSignal.timeout((limit + 5) * 1000)])
    const answer = await hosts.call(proxyHostId, agentServices.host.RunFenceAgent, request, within)
    return { ...answer, powerState: powerStates[answer.powerState] ?? 'unknown' }
  }
}
