import type { Libvirt } from './connections.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import { absent } from './domain.js'
import { isVirError } from './errors.js'
import { procedures as p } from './procedures.js'

// Networks, network filters and node devices: what libvirt keeps beside domains.

export async function listNetworks(libvirt: Libvirt, signal: AbortSignal) {
  return (await libvirt.call(p.connectListAllNetworks, { needResults: 1, flags: 0 }, signal)).nets
}

/** Defines a network, starts it, and lets it start by itself from now on. */
export async function ensureNetwork(libvirt: Libvirt, xml: string, signal: AbortSignal): Promise<void> {
  const { net } = await libvirt.call(p.networkDefineXml, { xml }, signal)
  const { active } = await libvirt.call(p.networkIsActive, { net }, signal)
  if (active !== 1) await libvirt.call(p.networkCreate, { net }, signal)
  await libvirt.call(p.networkSetAutostart, { net, autostart: 1 }, signal)
}

/** Stops and forgets a network; none of that name is as good. */
export async function removeNetwork(libvirt: Libvirt, name: string, signal: AbortSignal): Promise<void> {
  const found = await libvirt.call(p.networkLookupByName, { name }, signal).catch(absent('NO_NETWORK'))
  if (!found) return
  await libvirt.call(p.networkDestroy, found, signal).catch((error: unknown) => {
    if (!isVirError(error, 'OPERATION_INVALID')) throw error
  })
  await libvirt.call(p.networkUndefine, found, signal)
}

export async function defineNwfilter(libvirt: Libvirt, xml: string, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.nwfilterDefineXml, { xml }, signal)).nwfilter.uuid
}

export async function listNwfilters(libvirt: Libvirt, signal: AbortSignal) {
  return (await libvirt.call(p.connectListAllNwfilters, { needResults: 1, flags: 0 }, signal)).filters
}

export type DeviceKind = keyof typeof c.connectListAllNodeDeviceFlags

/** Names of the host's devices of these kinds. */
export async function listNodeDevices(
  libvirt: Libvirt,
  kinds: DeviceKind[],
  signal: AbortSignal
): Promise<string[]> {
  const which = flags(...kinds.map(kind => c.connectListAllNodeDeviceFlags[kind]))
  const { devices } = await libvirt.call(
    p.connectListAllNodeDevices,
    { needResults: 1, flags: which },
    signal
  )
  return devices.map(({ name }) => name)
}

/** XML. */
export async function nodeDevice(libvirt: Libvirt, name: string, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.nodeDeviceGetXmlDesc, { name, flags: 0 }, signal)).xml
}

/** Takes a device from the host's driver, so that a guest can have it; `reattach` gives it back. */
export async function detachNodeDevice(libvirt: Libvirt, name: string, signal: AbortSignal): Promise<void> {
  await libvirt.call(p.nodeDeviceDetachFlags, { name, driver: null, flags: 0 }, signal)
}

export async function reattachNodeDevice(libvirt: Libvirt, name: string, signal: AbortSignal): Promise<void> {
  await libvirt.call(p.nodeDeviceReAttach, { name }, signal)
}
