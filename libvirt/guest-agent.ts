import type { Seconds } from '../common/units.js'
import { seconds } from '../common/units.js'
import type { CallOptions } from './connections.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import type { Domain } from './domain.js'
import { procedures as p } from './procedures.js'
import { paramsOf, type Params } from './typed-params.js'

// The agent is inside the guest and may lie, be silent or be missing (GUEST_AGENT_UNAVAILABLE). Texts from here
// are the guest's: bound and check them before they go anywhere.

export type GuestInterface = {
  name: string
  mac: string | null
  addresses: Array<{ family: 'ipv4' | 'ipv6'; address: string; prefix: number }>
}
export type GuestFilesystem = { mountpoint: string; name: string; type: string; disks: string[] }
export type GuestInfoGroup = Lowercase<keyof typeof c.domainGuestInfoTypes>

/** How long libvirt waits for the agent, and we for libvirt: a little longer. */
const patience = (wait: Seconds): CallOptions => ({ limit: seconds(wait + 5) })
const usually = seconds(5)

/** A command of the agent's own protocol; JSON text in and out. `wait` is whole seconds. */
export async function agentCommand(
  domain: Domain,
  command: object,
  signal: AbortSignal,
  wait: Seconds = usually
): Promise<string | null> {
  const args = { dom: domain.ref, cmd: JSON.stringify(command), timeout: Math.ceil(wait), flags: 0 }
  return (await domain.libvirt.call(p.domainAgentCommand, args, signal, patience(wait))).result
}

/** What the agent says about itself under libvirt's flat names: `user.0.name`, `os.id`, `fs.0.mountpoint`. */
export async function guestInfo(
  domain: Domain,
  groups: GuestInfoGroup[],
  signal: AbortSignal
): Promise<Params> {
  const types: Record<string, number> = c.domainGuestInfoTypes
  const which = flags(...groups.map(group => types[group.toUpperCase()] ?? 0))
  const args = { dom: domain.ref, types: which, flags: 0 }
  // libvirt asks the agent once for each group.
  const limit = patience(seconds(usually * Math.max(1, groups.length)))
  return paramsOf((await domain.libvirt.call(p.domainGetGuestInfo, args, signal, limit)).params)
}

export async function guestInterfaces(domain: Domain, signal: AbortSignal): Promise<GuestInterface[]> {
  const args = { dom: domain.ref, source: c.domainInterfaceAddressesSource.AGENT, flags: 0 }
  const { ifaces } = await domain.libvirt.call(p.domainInterfaceAddresses, args, signal)
  return ifaces.map(({ name, hwaddr, addrs }) => ({
    name,
    mac: hwaddr,
    addresses: addrs.map(({ type, addr, prefix }) => ({
      family: type === c.ipAddrType.IPV4 ? 'ipv4' : 'ipv6',
      address: addr,
      prefix
    }))
  }))
}

export async function guestFilesystems(domain: Domain, signal: AbortSignal): Promise<GuestFilesystem[]> {
  const { info } = await domain.libvirt.call(p.domainGetFsinfo, { dom: domain.ref, flags: 0 }, signal)
  return info.map(({ mountpoint, name, fstype, devAliases }) => ({
    mountpoint,
    name,
    type: fstype,
    disks: devAliases
  }))
}

/** Stops writing in the guest; gives how many file systems it froze. Thaw in any case, also after a failure. */
export async function freeze(domain: Domain, signal: AbortSignal, wait = seconds(60)): Promise<number> {
  const args = { dom: domain.ref, mountpoints: [], flags: 0 }
  return (await domain.libvirt.call(p.domainFsfreeze, args, signal, patience(wait))).filesystems
}

export async function thaw(domain: Domain, signal: AbortSignal, wait = seconds(60)): Promise<number> {
  const args = { dom: domain.ref, mountpoints: [], flags: 0 }
  return (await domain.libvirt.call(p.domainFsthaw, args, signal, patience(wait))).filesystems
}

export async function trim(domain: Domain, signal: AbortSignal, wait = seconds(300)): Promise<void> {
  const args = { dom: domain.ref, mountPoint: null, minimum: 0n, flags: 0 }
  await domain.libvirt.call(p.domainFstrim, args, signal, patience(wait))
}

/** The guest's clock, in milliseconds since 1970. */
export async function guestTime(domain: Domain, signal: AbortSignal): Promise<number> {
  const { seconds: s, nseconds } = await domain.libvirt.call(
    p.domainGetTime,
    { dom: domain.ref, flags: 0 },
    signal
  )
  return Number(s) * 1000 + nseconds / 1e6
}

/** Lets the guest set its clock from its RTC: after a resume or a migration. */
export async function syncGuestTime(domain: Domain, signal: AbortSignal): Promise<void> {
  const args = { dom: domain.ref, seconds: 0n, nseconds: 0, flags: c.domainSetTimeFlags.SYNC }
  await domain.libvirt.call(p.domainSetTime, args, signal)
}

export async function setUserPassword(
  domain: Domain,
  { user, password, isHashed }: { user: string; password: string; isHashed: boolean },
  signal: AbortSignal
): Promise<void> {
  const how = isHashed ? c.domainSetUserPasswordFlags.ENCRYPTED : 0
  await domain.libvirt.call(p.domainSetUserPassword, { dom: domain.ref, user, password, flags: how }, signal)
}

/** How long libvirt waits for this guest's agent in the calls that do not say themselves. */
export async function setAgentTimeout(domain: Domain, wait: Seconds, signal: AbortSignal): Promise<void> {
  const args = { dom: domain.ref, timeout: Math.ceil(wait), flags: 0 }
  await domain.libvirt.call(p.domainAgentSetResponseTimeout, args, signal)
}
