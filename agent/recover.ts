import { sleep, type Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds } from '../common/units.js'
import type { Up } from '../libvirt/control-loop.js'
import type { Host } from './host.js'
import type { Vms } from './vms.js'

type Recovery = {
  host: Host
  vms: Vms
  refresh(signal: AbortSignal): Promise<void>
  clock: Clock
  log: Logger
}

/**
 * What the agent does each time libvirtd is there: finds out which VMs run. The first time ends its recovery:
 * before that it changes nothing and says so, for without libvirt's list it knows of no VM.
 *
 * One after the other: a libvirtd that comes and goes quickly must not have two lists at work at once.
 */
export function recovery({ host, vms, refresh, clock, log }: Recovery, signal: AbortSignal) {
  let last: Promise<void> = Promise.resolve()
  const adopt = async (up: Up) => {
    await vms.onUp(up)
    // A busy libvirtd may owe its capabilities for long; that is no reason to keep everybody waiting.
    const isKnown = await quietly(refresh)
    if (host.isRecovering) {
      host.recovered()
      log.info({ vms: vms.list().length }, 'recovered')
    }
    if (!isKnown) void refreshLater()
  }
  const quietly = (read: typeof refresh) =>
    read(signal).then(
      () => true,
      (error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, 'capabilities not read')
        return false
      }
    )
  const refreshLater = async () => {
    while (!signal.aborted) {
      await sleep(clock, seconds(5), signal).catch(() => {})
      if (signal.aborted || (await quietly(refresh))) return
    }
  }
  return {
    onUp: (up: Up) => {
      last = last
        .then(() => adopt(up))
        .catch((error: unknown) => log.error({ err: error }, 'recovery failed'))
    }
  }
}

/** Whether recovery ended in time. */
export async function whenRecovered(host: Host, clock: Clock, signal: AbortSignal): Promise<boolean> {
  for (let waited = 0; waited < 4; waited += 0.05) {
    if (!host.isRecovering) return true
    await sleep(clock, seconds(0.05), signal).catch(() => {})
  }
  return false
}
