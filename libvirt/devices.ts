import { affectFlags, type Affect, type Domain } from './domain.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import { procedures as p } from './procedures.js'

/** Hot plug: the device's XML, with an alias of ours (`ua-…`) so that it can be named later. */
export async function attachDevice(
  domain: Domain,
  xml: string,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, xml, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainAttachDeviceFlags, args, signal)
}

/** Only asks the guest to let go. It has let go when the event deviceRemoved with this alias comes. */
export async function detachDevice(
  domain: Domain,
  alias: string,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, alias, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainDetachDeviceAlias, args, signal)
}

/** Detaches what the XML describes: for devices that have no alias of ours. */
export async function detachDeviceByXml(
  domain: Domain,
  xml: string,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, xml, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainDetachDeviceFlags, args, signal)
}

/** Changes a device in place: a CD, the link of a NIC, the password of a display. */
export async function updateDevice(
  domain: Domain,
  xml: string,
  affect: Affect,
  signal: AbortSignal,
  { force = false } = {}
): Promise<void> {
  const how = flags(affectFlags(affect), force ? c.domainDeviceModifyFlags.FORCE : 0)
  await domain.libvirt.call(p.domainUpdateDeviceFlags, { dom: domain.ref, xml, flags: how }, signal)
}

/** How many vCPUs the guest has. More only, under TCG: unplugging corrupts QEMU 7.2 there. */
export async function setVcpus(
  domain: Domain,
  count: number,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, nvcpus: count, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetVcpusFlags, args, signal)
}

/** The balloon's target. */
export async function setMemory(
  domain: Domain,
  kib: number,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, memory: BigInt(kib), flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetMemoryFlags, args, signal)
}

/** How often the balloon driver reports, in seconds; 0 stops it. */
export async function setBalloonPeriod(
  domain: Domain,
  period: number,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const args = { dom: domain.ref, period, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetMemoryStatsPeriod, args, signal)
}

export async function setLifecycleAction(
  domain: Domain,
  on: keyof typeof c.domainLifecycle,
  action: keyof typeof c.domainLifecycleAction,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const what = { type: c.domainLifecycle[on], action: c.domainLifecycleAction[action] }
  const args = { dom: domain.ref, ...what, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetLifecycleAction, args, signal)
}
