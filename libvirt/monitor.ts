import type { Domain } from './domain.js'
import { procedures as p } from './procedures.js'

/**
 * A command straight to QEMU's monitor, past libvirt: for diagnosis and tests only. libvirt marks the domain as
 * tainted.
 */
export async function monitorCommand(
  domain: Domain,
  command: string,
  { human }: { human: boolean },
  signal: AbortSignal
): Promise<string> {
  const args = { dom: domain.ref, cmd: command, flags: human ? 1 : 0 }
  return (await domain.libvirt.call(p.domainMonitorCommand, args, signal)).result
}
