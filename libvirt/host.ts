import type { Libvirt } from './connections.js'
import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'
import { procedures as p } from './procedures.js'

export type NodeInfo = {
  /** The architecture, `x86_64`. */
  model: string
  memoryKiB: number
  cpus: number
  mhz: number
  numaNodes: number
  sockets: number
  cores: number
  threads: number
}
export type NodeCpuTimes = Record<string, bigint>
export type NodeMemory = { totalKiB: number; freeKiB: number; buffersKiB: number; cachedKiB: number }

export async function nodeInfo(libvirt: Libvirt, signal: AbortSignal): Promise<NodeInfo> {
  const { memory, nodes, ...info } = await libvirt.call(p.nodeGetInfo, {}, signal)
  return { ...info, memoryKiB: Number(memory), numaNodes: nodes }
}

/** XML. The first call after a libvirtd start probes QEMU and takes seconds: ask once, before saying ready. */
export async function hostCapabilities(libvirt: Libvirt, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.connectGetCapabilities, {}, signal)).capabilities
}

/** XML: what this QEMU, machine type and kind of virtualization can do. Null leaves the choice to libvirt. */
export async function domainCapabilities(
  libvirt: Libvirt,
  {
    emulator = null,
    arch = null,
    machine = null,
    virtType = null
  }: Partial<Record<'emulator' | 'arch' | 'machine' | 'virtType', string | null>>,
  signal: AbortSignal
): Promise<string> {
  const args = { emulatorBin: emulator, arch, machine, virtType, flags: 0 }
  return (await libvirt.call(p.connectGetDomainCapabilities, args, signal)).capabilities
}

export async function hostName(libvirt: Libvirt, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.connectGetHostname, {}, signal)).hostname
}

/** Versions as `9.0.0`: of libvirtd and of QEMU. */
export async function versions(libvirt: Libvirt, signal: AbortSignal) {
  const { libVer } = await libvirt.call(p.connectGetLibVersion, {}, signal)
  const { hvVer } = await libvirt.call(p.connectGetVersion, {}, signal)
  return { libvirt: versionText(libVer), hypervisor: versionText(hvVer) }
}

export async function sysinfo(libvirt: Libvirt, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.connectGetSysinfo, { flags: 0 }, signal)).sysinfo
}

/** CPU models that libvirt knows for an architecture. */
export async function cpuModels(libvirt: Libvirt, arch: string, signal: AbortSignal): Promise<string[]> {
  return (await libvirt.call(p.connectGetCpuModelNames, { arch, needResults: 1, flags: 0 }, signal)).models
}

/** Whether this host's CPU, as its hypervisor shows it, can run a guest with the CPU of the XML. */
export async function compareCpu(
  libvirt: Libvirt,
  xmlCpu: string,
  signal: AbortSignal
): Promise<NameIn<typeof c.cpuCompareResult>> {
  const args = { emulator: null, arch: null, machine: null, virtType: null, xmlCpu, flags: 0 }
  const { result } = await libvirt.call(p.connectCompareHypervisorCpu, args, signal)
  return nameOf(c.cpuCompareResult, result)
}

/** XML of a CPU that all the given ones can be. */
export async function baselineCpu(libvirt: Libvirt, xmlCpus: string[], signal: AbortSignal): Promise<string> {
  const f = c.connectBaselineCPUFlags
  const which = { emulator: null, arch: null, machine: null, virtType: null, xmlCpus }
  const args = { ...which, flags: c.flags(f.EXPAND_FEATURES, f.MIGRATABLE) }
  return (await libvirt.call(p.connectBaselineHypervisorCpu, args, signal)).cpu
}

/** Nanoseconds since boot, summed over all CPUs: kernel, user, idle, iowait. */
export async function nodeCpuTimes(libvirt: Libvirt, signal: AbortSignal): Promise<NodeCpuTimes> {
  const all = { cpuNum: c.nodeGetCPUStatsAllCPUs.ALL_CPUS, flags: 0 }
  // libvirt wants to be asked for exactly as many as it has.
  const { nparams } = await libvirt.call(p.nodeGetCpuStats, { ...all, nparams: 0 }, signal)
  const { params } = await libvirt.call(p.nodeGetCpuStats, { ...all, nparams }, signal)
  return Object.fromEntries(params.map(({ field, value }) => [field, value]))
}

export async function nodeMemory(libvirt: Libvirt, signal: AbortSignal): Promise<NodeMemory> {
  const all = { cellNum: c.nodeGetMemoryStatsAllCells.ALL_CELLS, flags: 0 }
  const { nparams } = await libvirt.call(p.nodeGetMemoryStats, { ...all, nparams: 0 }, signal)
  const { params } = await libvirt.call(p.nodeGetMemoryStats, { ...all, nparams }, signal)
  const kib = (field: string) => Number(params.find(stat => stat.field === field)?.value ?? 0n)
  return {
    totalKiB: kib('total'),
    freeKiB: kib('free'),
    buffersKiB: kib('buffers'),
    cachedKiB: kib('cached')
  }
}

const versionText = (version: bigint) =>
  `${version / 1_000_000n}.${(version / 1000n) % 1000n}.${version % 1000n}`
