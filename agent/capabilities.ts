import { readdir, readFile } from 'node:fs/promises'
import { cpus, hostname, release, totalmem } from 'node:os'
import { within } from '../common/deadline.js'
import type { Run } from '../common/run.js'
import { seconds } from '../common/units.js'
import { exists } from '../common/exists.js'
import type { Libvirt } from '../libvirt/connections.js'
import { domainCapabilities, hostCapabilities, nodeInfo, versions } from '../libvirt/host.js'
import { at, childrenOf, readXml, type XmlElement } from '../libvirt/xml.js'
import { unsafeSettings, type AgentConfig } from './config.js'
import { readInventory } from './inventory.js'
import { knownKvm } from './kvm-probe.js'
import { agentVersion } from './version.js'

export type Capabilities = {
  hardwareId: string
  hostname: string
  bootId: string
  agentVersion: string
  libvirtVersion: string
  qemuVersion: string
  kernel: string
  cpus: number
  cpuSockets: number
  cpuCores: number
  cpuThreads: number
  cpuModel: string
  cpuVendor: string
  usableCpuModels: string[]
  memoryBytes: number
  kvm: boolean
  machineTypes: string[]
  haLeases: boolean
  haLeasesNote: string
  fenceAgents: string[]
  bridges: string[]
  uefi: boolean
  unsafeSettings: string[]
  manufacturer: string
  product: string
  cpuBrand: string
}

type Sources = { libvirt: Libvirt; config: AgentConfig; run: Run }

/** What the host is and can do. What libvirt says is empty while libvirtd is away. */
export async function readCapabilities(sources: Sources, signal: AbortSignal): Promise<Capabilities> {
  const { config } = sources
  const [own, machine, fromLibvirt, leases] = await Promise.all([
    ownFacts(config),
    readInventory(),
    libvirtFacts(sources, signal),
    leaseSafety(sources, signal)
  ])
  return { ...own, ...machine, ...fromLibvirt, ...leases }
}

/** Which virtualization guests get, for those who start them before anybody asked for capabilities. */
export async function decideAccelerator(
  { config, run }: Sources,
  bootId: string,
  qemuVersion: string,
  signal: AbortSignal
): Promise<'kvm' | 'tcg'> {
  if (config.accelerator !== 'probe') return config.accelerator
  const file = `${config.state_directory}/kvm-probe.json`
  return (await knownKvm({ file, bootId, qemuVersion, run }, signal)) ? 'kvm' : 'tcg'
}

export const readBootId = async () => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()

/** SMBIOS ids repeat on cheap boards and are shared by containers; the machine id is this system's own. */
export async function readHardwareId(): Promise<string> {
  const id = (await readFile('/etc/machine-id', 'utf8')).trim()
  return [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20, 32)].join('-')
}

async function ownFacts(config: AgentConfig) {
  const [hardwareId, bootId, fenceAgents, bridges, uefi] = await Promise.all([
    readHardwareId(),
    readBootId(),
    listed(config.fence_agents_directory).then(names =>
      names.filter(name => /^fence_[a-z0-9_]+$/.test(name))
    ),
    readBridges(),
    exists(config.ovmf_code)
  ])
  return {
    ...{ hardwareId, hostname: hostname(), bootId, agentVersion, kernel: release() },
    ...{ cpus: cpus().length, memoryBytes: totalmem(), fenceAgents, bridges, uefi },
    unsafeSettings: unsafeSettings(config)
  }
}

const withoutLibvirt = {
  ...{ libvirtVersion: '', qemuVersion: '', cpuSockets: 0, cpuCores: 0, cpuThreads: 0 },
  ...{ cpuModel: '', cpuVendor: '', usableCpuModels: [], machineTypes: [], kvm: false }
}

async function libvirtFacts(sources: Sources, signal: AbortSignal) {
  const { libvirt } = sources
  if (!libvirt.isUp) return withoutLibvirt
  const { libvirt: libvirtVersion, hypervisor: qemuVersion } = await versions(libvirt, signal)
  const accelerator = await decideAccelerator(sources, await readBootId(), qemuVersion, signal)
  const { sockets, cores, threads } = await nodeInfo(libvirt, signal)
  const host = readXml(await hostCapabilities(libvirt, signal))
  const virtType = accelerator === 'kvm' ? 'kvm' : 'qemu'
  const guest = readXml(
    await domainCapabilities(libvirt, { arch: 'x86_64', machine: 'q35', virtType }, signal)
  )
  return {
    ...{ libvirtVersion, qemuVersion, cpuSockets: sockets, cpuCores: cores, cpuThreads: threads },
    cpuModel: at(host, 'host', 'cpu', 'model')?.text ?? '',
    cpuVendor: at(host, 'host', 'cpu', 'vendor')?.text ?? '',
    usableCpuModels: usableModels(guest),
    machineTypes: machineTypes(host),
    kvm: accelerator === 'kvm'
  }
}

/** Models that QEMU can give guests here, out of the domain capabilities. */
export function usableModels(capabilities: XmlElement): string[] {
  const modes = at(capabilities, 'cpu')?.children ?? []
  const custom = modes.find(({ name, attributes }) => name === 'mode' && attributes['name'] === 'custom')
  const models = custom ? childrenOf(custom, 'model') : []
  return models.flatMap(({ attributes, text }) => (attributes['usable'] === 'yes' ? [text] : [])).toSorted()
}

/** Versioned q35 machine types, newest first. */
export function machineTypes(capabilities: XmlElement): string[] {
  const guests = childrenOf(capabilities, 'guest')
  const archs = guests.flatMap(guest => childrenOf(guest, 'arch'))
  const machines = archs
    .filter(({ attributes }) => attributes['name'] === 'x86_64')
    .flatMap(arch => childrenOf(arch, 'machine'))
  const names = machines.map(({ text }) => text).filter(name => /^pc-q35-\d/.test(name))
  const version = (name: string) => name.replace('pc-q35-', '').split('.').map(Number)
  const compare = (a: string, b: string) => {
    const [[majorA = 0, minorA = 0], [majorB = 0, minorB = 0]] = [version(a), version(b)]
    return majorB - majorA || minorB - minorA
  }
  return [...new Set(names)].toSorted(compare)
}

/** A lease saves data only if a host that cannot renew it is stopped: that takes sanlock and a watchdog. */
async function leaseSafety({ config, run }: Sources, signal: AbortSignal) {
  const answers = await run('/usr/sbin/sanlock', ['client', 'status'], within(seconds(5), signal)).then(
    () => true,
    () => false
  )
  const qemuConf = await readFile('/etc/libvirt/qemu.conf', 'utf8').catch(() => '')
  const isPluggedIn = /^\s*lock_manager\s*=\s*"sanlock"/m.test(qemuConf)
  const hasWatchdog = (await exists('/run/wdmd/wdmd.sock')) && (await exists('/dev/watchdog'))
  if (!answers) return { haLeases: false, haLeasesNote: 'sanlock does not answer' }
  if (!isPluggedIn) return { haLeases: false, haLeasesNote: 'qemu.conf has no lock_manager = "sanlock"' }
  if (hasWatchdog) return { haLeases: true, haLeasesNote: '' }
  const isAllowed = config.unsafe_ha_without_watchdog
  return {
    haLeases: isAllowed,
    haLeasesNote: isAllowed
      ? 'unsafe_ha_without_watchdog is on: no watchdog'
      : 'no watchdog device or no wdmd'
  }
}

async function readBridges(): Promise<string[]> {
  const names = await listed('/sys/class/net')
  const found = await Promise.all(names.map(name => exists(`/sys/class/net/${name}/bridge`)))
  return names.filter((_, index) => found[index])
}

const listed = async (folder: string) => (await readdir(folder).catch(() => [])).toSorted()
