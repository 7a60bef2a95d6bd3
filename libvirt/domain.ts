import type { Seconds } from '../common/units.js'
import type { CallOptions, Libvirt } from './connections.js'
import * as c from './constants.js'
import { flags, nameOf, type NameIn } from './constants.js'
import { stateOf, type DomainState } from './domain-state.js'
import { isVirError } from './errors.js'
import { procedures as p } from './procedures.js'

/** Which copy of the definition a change is about: the running one, the one for the next start, or both. */
export type Affect = { live?: boolean; config?: boolean }

export type DomainInfo = { maxMemoryKiB: number; memoryKiB: number; vcpus: number; cpuTimeNs: bigint }
export type ControlInfo = { state: NameIn<typeof c.domainControlState>; forMs: number }

/** A libvirt domain. It is found by its uuid alone, so making one of these asks nobody. */
export class Domain {
  readonly libvirt: Libvirt
  readonly uuid: string
  readonly ref: { name: string; uuid: string; id: number }

  constructor(libvirt: Libvirt, uuid: string) {
    this.libvirt = libvirt
    this.uuid = uuid
    this.ref = { name: '', uuid, id: -1 }
  }

  async state(signal: AbortSignal): Promise<DomainState> {
    const { state, reason } = await this.libvirt.call(p.domainGetState, { dom: this.ref, flags: 0 }, signal)
    return stateOf(state, reason)
  }

  /** The same, or null if there is no such domain. */
  async stateIfPresent(signal: AbortSignal): Promise<DomainState | null> {
    return this.state(signal).catch(absent('NO_DOMAIN'))
  }

  /** Whether QEMU answers: `occupied` with a long time means a stuck monitor. Never waits itself. */
  async controlInfo(signal: AbortSignal): Promise<ControlInfo> {
    const args = { dom: this.ref, flags: 0 }
    const { state, stateTime } = await this.libvirt.call(p.domainGetControlInfo, args, signal)
    return { state: nameOf(c.domainControlState, state), forMs: Number(stateTime) }
  }

  async info(signal: AbortSignal): Promise<DomainInfo> {
    const info = await this.libvirt.call(p.domainGetInfo, { dom: this.ref }, signal)
    const { maxMem, memory, nrVirtCpu, cpuTime } = info
    return {
      maxMemoryKiB: Number(maxMem),
      memoryKiB: Number(memory),
      vcpus: nrVirtCpu,
      cpuTimeNs: cpuTime
    }
  }

  async isPersistent(signal: AbortSignal): Promise<boolean> {
    return (await this.libvirt.call(p.domainIsPersistent, { dom: this.ref }, signal)).persistent === 1
  }

  /** The XML; `inactive` gives the definition for the next start, `secure` the passwords: do not log those. */
  async xml(
    signal: AbortSignal,
    { inactive = false, secure = false, migratable = false } = {}
  ): Promise<string> {
    const { INACTIVE, SECURE, MIGRATABLE } = c.domainXMLFlags
    const which = flags(inactive ? INACTIVE : 0, secure ? SECURE : 0, migratable ? MIGRATABLE : 0)
    return (await this.libvirt.call(p.domainGetXmlDesc, { dom: this.ref, flags: which }, signal)).xml
  }

  /** Starts a defined domain. */
  async start(signal: AbortSignal, { paused = false, resetNvram = false } = {}): Promise<void> {
    const { START_PAUSED, START_RESET_NVRAM } = c.domainCreateFlags
    const how = flags(paused ? START_PAUSED : 0, resetNvram ? START_RESET_NVRAM : 0)
    await this.libvirt.call(p.domainCreateWithFlags, { dom: this.ref, flags: how }, signal, starting)
  }

  async suspend(signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainSuspend, { dom: this.ref }, signal)
  }

  async resume(signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainResume, { dom: this.ref }, signal)
  }

  /** Asks the guest to end; it may take its time or refuse. */
  async shutdown(by: 'acpi' | 'guestAgent', signal: AbortSignal): Promise<void> {
    const { ACPI_POWER_BTN, GUEST_AGENT } = c.domainShutdownFlags
    const how = { dom: this.ref, flags: by === 'acpi' ? ACPI_POWER_BTN : GUEST_AGENT }
    await this.libvirt.call(p.domainShutdownFlags, how, signal, viaGuestIf(by))
  }

  async reboot(by: 'acpi' | 'guestAgent', signal: AbortSignal): Promise<void> {
    const { ACPI_POWER_BTN, GUEST_AGENT } = c.domainRebootFlags
    const how = { dom: this.ref, flags: by === 'acpi' ? ACPI_POWER_BTN : GUEST_AGENT }
    await this.libvirt.call(p.domainReboot, how, signal, viaGuestIf(by))
  }

  async reset(signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainReset, { dom: this.ref, flags: 0 }, signal)
  }

  /** Ends QEMU: politely, then after 10 s by force. Gets past a stuck call about the same guest. */
  async destroy(signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainDestroyFlags, { dom: this.ref, flags: 0 }, signal)
  }

  /** Forgets the definition, with what libvirt keeps beside it; NVRAM and TPM state only if asked. */
  async undefine(
    signal: AbortSignal,
    { keepNvram = false, keepTpm = false }: { keepNvram?: boolean; keepTpm?: boolean } = {}
  ): Promise<void> {
    const f = c.domainUndefineFlags
    const nvram = keepNvram ? f.KEEP_NVRAM : f.NVRAM
    const tpm = keepTpm ? f.KEEP_TPM : f.TPM
    const all = flags(f.MANAGED_SAVE, f.SNAPSHOTS_METADATA, f.CHECKPOINTS_METADATA, nvram, tpm)
    await this.libvirt.call(p.domainUndefineFlags, { dom: this.ref, flags: all }, signal)
  }

  async injectNmi(signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainInjectNmi, { dom: this.ref, flags: 0 }, signal)
  }

  /** The element of our namespace, without prefix and xmlns; null if the domain has none. */
  async metadata(uri: string, signal: AbortSignal, affect: Affect = {}): Promise<string | null> {
    const args = { dom: this.ref, type: c.domainMetadataType.ELEMENT, uri, flags: affectFlags(affect) }
    const found = this.libvirt.call(p.domainGetMetadata, args, signal).then(({ metadata }) => metadata)
    return found.catch(absent('NO_DOMAIN_METADATA'))
  }

  /** Replaces the whole element of a namespace; null removes it. The root goes without prefix and xmlns. */
  async setMetadata(
    { uri, prefix, xml }: { uri: string; prefix: string; xml: string | null },
    affect: Affect,
    signal: AbortSignal
  ): Promise<void> {
    const what = { type: c.domainMetadataType.ELEMENT, metadata: xml, key: prefix, uri }
    const args = { dom: this.ref, ...what, flags: affectFlags(affect) }
    await this.libvirt.call(p.domainSetMetadata, args, signal)
  }

  async setAutostart(on: boolean, signal: AbortSignal): Promise<void> {
    await this.libvirt.call(p.domainSetAutostart, { dom: this.ref, autostart: on ? 1 : 0 }, signal)
  }

  /** What libvirt would like a person to know: taints and deprecations. */
  async messages(signal: AbortSignal): Promise<string[]> {
    return (await this.libvirt.call(p.domainGetMessages, { dom: this.ref, flags: 0 }, signal)).msgs
  }
}

/** Creates and starts a transient domain. */
export async function createDomain(
  libvirt: Libvirt,
  {
    uuid,
    xml,
    paused = false,
    validate = true
  }: { uuid: string; xml: string; paused?: boolean; validate?: boolean },
  signal: AbortSignal
): Promise<Domain> {
  const { START_PAUSED, START_VALIDATE } = c.domainCreateFlags
  const how = flags(paused ? START_PAUSED : 0, validate ? START_VALIDATE : 0)
  const options = { about: uuid, ...starting }
  await libvirt.call(p.domainCreateXml, { xmlDesc: xml, flags: how }, signal, options)
  return new Domain(libvirt, uuid)
}

/** Defines a persistent domain, or replaces the definition for its next start. */
export async function defineDomain(libvirt: Libvirt, xml: string, signal: AbortSignal): Promise<Domain> {
  const args = { xml, flags: c.domainDefineFlags.VALIDATE }
  const { dom } = await libvirt.call(p.domainDefineXmlFlags, args, signal)
  return new Domain(libvirt, dom.uuid)
}

/** All domains that libvirt knows. */
export async function listDomains(
  libvirt: Libvirt,
  signal: AbortSignal,
  only: 'all' | 'active' | 'inactive' = 'all'
): Promise<Array<{ uuid: string; name: string; id: number | null }>> {
  const { ACTIVE, INACTIVE } = c.connectListAllDomainsFlags
  const filter = { all: flags(ACTIVE, INACTIVE), active: ACTIVE, inactive: INACTIVE }[only]
  const { domains } = await libvirt.call(p.connectListAllDomains, { needResults: 1, flags: filter }, signal)
  return domains.map(({ uuid, name, id }) => ({ uuid, name, id: id < 0 ? null : id }))
}

/** Null if no domain has this name. */
export async function findDomainByName(
  libvirt: Libvirt,
  name: string,
  signal: AbortSignal
): Promise<Domain | null> {
  const found = libvirt.call(p.domainLookupByName, { name }, signal)
  return found.then(({ dom }) => new Domain(libvirt, dom.uuid)).catch(absent('NO_DOMAIN'))
}

export function affectFlags({ live = false, config = false }: Affect): number {
  return flags(live ? c.domainModificationImpact.LIVE : 0, config ? c.domainModificationImpact.CONFIG : 0)
}

/** Turns one of libvirt's "there is none" into null. */
export function absent(...names: Parameters<typeof isVirError>[1][]): (error: unknown) => null {
  return error => {
    if (isVirError(error, ...names)) return null
    throw error
  }
}

// A start opens every disk and asks sanlock for every lease.
const starting: CallOptions = { limit: 120 as Seconds }

function viaGuestIf(by: 'acpi' | 'guestAgent'): CallOptions {
  return by === 'guestAgent' ? { lane: 'guest' } : {}
}
