import { Fault } from '../../../common/fault.js'
import type { Secret } from '../../../common/secret.js'
import type { PowerState } from '../power-reading.js'

/** One power device of a host, and the fence agent that speaks to it. */
export type PowerDevice = {
  fenceAgent: string
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

/** One round over all devices: each through the first proxy that can read it, `unknown` where none can. */
export async function readPowerRound(
  devices: readonly PowerDevice[],
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<PowerState[]> {
  return Promise.all(devices.map(device => readOne(device, proxies, run, signal)))
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

/** The command, to every device at once: a host with two supplies is off only when both are. Says nothing about success. */
export async function switchPower(
  action: 'off' | 'on',
  devices: readonly PowerDevice[],
  proxies: readonly string[],
  run: RunFenceAgent,
  signal: AbortSignal
): Promise<void> {
  await Promise.all(devices.map(device => switchOne(action, device, proxies, run, signal)))
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
