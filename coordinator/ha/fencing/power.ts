import { Fault } from '../../../common/fault.js'
import type { Secret } from '../../../common/secret.js'
import type { PowerState } from '../power-reading.js'

/** One power device of a host, and the fence agent that speaks to it. */
export type PowerDevice = {
  fenceAgent: string
  /** Devices of the same order belong together (two supplies); another order is another way to the same end. */
  order: number
  options: Record<string, string>
  secretOptions: Record<string, Secret>
}

/** Runs a fence agent on a proxy host. The coordinator itself never talks to a power device. */
export type RunFenceAgent = (
  proxyHostId: string,
  device: PowerDevice,
  action: 'status' | 'off' | 'on',
  signal: AbortSignal
) => Promise<{ succeeded: boolean; powerState: PowerState; output: string }>

const mostProxies = 3

/** Device by order, lowest first; those of one order together. */
export function waysOf(devices: readonly PowerDevice[]): PowerDevice[][] {
  const orders = [...new Set(devices.map(({ order }) => order))].toSorted((a, b) => a - b)
  return orders.map(wanted => devices.filter(({ order }) => order === wanted))
}

/**
 * One round over all devices: each through the first proxy that can read it, `unknown` where none can. A way
 * whose devices all say off answers for another that nobody can read (a service processor without power says
 * nothing); "on" is never left out.
 */
export async function readPowerRound(
  devices: readonly PowerDevice[],
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<PowerState[]> {
  const ways = await Promise.all(
    waysOf(devices).map(way => Promise.all(way.map(device => readOne(device, proxies, run, signal))))
  )
  const isOff = ways.some(states => states.every(state => state === 'off'))
  return ways.flat().filter(state => !isOff || state !== 'unknown')
}

async function readOne(
  device: PowerDevice,
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<PowerState> {
  for (const proxy of proxies.slice(0, mostProxies)) {
    try {
      const { succeeded, powerState } = await run(proxy, device, 'status', signal)
      if (succeeded && powerState !== 'unknown') return powerState
    } catch (error) {
      if (signal.aborted) throw error
    }
  }
  return 'unknown'
}

/**
 * The command: to every device of the first way at once, for a host with two supplies is off only when both
 * are; where that fails, to those of the next. Says nothing about success.
 */
export async function switchPower(
  action: 'off' | 'on',
  devices: readonly PowerDevice[],
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<void> {
  let failure: Fault | null = null
  for (const way of waysOf(devices)) {
    try {
      await Promise.all(way.map(device => switchOne(action, device, proxies, run, signal)))
      return
    } catch (error) {
      if (signal.aborted || !(error instanceof Fault)) throw error
      failure = error
    }
  }
  if (failure) throw failure
}

async function switchOne(
  action: 'off' | 'on',
  device: PowerDevice,
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<void> {
  let last = 'no other host of the cluster is up to reach the power device'
  for (const proxy of proxies.slice(0, mostProxies)) {
    try {
      const { succeeded, output } = await run(proxy, device, action, signal)
      if (succeeded) return
      last = output
    } catch (error) {
      if (signal.aborted) throw error
      last = error instanceof Error ? error.message : String(error)
    }
  }
  throw new Fault('FENCING_FAILED', `${device.fenceAgent} could not switch the host ${action}: ${last}`)
}
