import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { sleep, type Clock } from '../common/clock.js'
import { seconds } from '../common/units.js'
import { ProcessUsage } from './process-usage.js'

const lookEvery = seconds(0.01)

/** The QEMU of a VM as libvirt has written down; null while it has written none. The caller closes it. */
export async function qemuProcess(libvirtSocket: string, vmId: string): Promise<ProcessUsage | null> {
  const file = `${dirname(libvirtSocket)}/qemu/drover-${vmId}.pid`
  const pid = Number(await readFile(file, 'utf8').catch(() => '0'))
  return ProcessUsage.open(pid, vmId)
}

/** True once the process has ended; false if the signal came first. */
export async function hasEnded(process: ProcessUsage, clock: Clock, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if (process.read() === null) return true
    await sleep(clock, lookEvery, signal).catch(() => {})
  }
  return false
}
