import { bytes, type Bytes } from '../common/units.js'
import type { HostStats__Output } from '../proto/generated/types/drover/agent/v1/HostStats.js'
import type { Samples__Output } from '../proto/generated/types/drover/agent/v1/Samples.js'
import type { VmStats__Output } from '../proto/generated/types/drover/common/v1/VmStats.js'
import { BusyMinutes, Smoothed } from './balance/smoothed.js'
import type { Loads } from './jobs/world.js'

/** The latest measurements: too short-lived to be written down, and gone with this life of the coordinator. */
export class Measured implements Loads {
  readonly #hosts = new Map<string, HostStats__Output>()
  readonly #vms = new Map<string, VmStats__Output>()
  readonly #vmsOfHost = new Map<string, Set<string>>()
  readonly #hostCpu = new Map<string, { smoothed: Smoothed; busy: BusyMinutes }>()
  readonly #vmCpu = new Map<string, Smoothed>()

  hostStats(hostId: string): HostStats__Output | null {
    return this.#hosts.get(hostId) ?? null
  }

  vmStats(vmId: string): VmStats__Output | null {
    return this.#vms.get(vmId) ?? null
  }

  memoryAvailable(hostId: string): Bytes | null {
    const available = Number(this.#hosts.get(hostId)?.memoryAvailableBytes ?? Number.NaN)
    return Number.isSafeInteger(available) && available >= 0 ? bytes(available) : null
  }

  cpuPercent(vmId: string): number | null {
    return this.#vmCpu.get(vmId)?.value ?? null
  }

  swapUsed(hostId: string): Bytes | null {
    const used = Number(this.#hosts.get(hostId)?.swapUsedBytes ?? Number.NaN)
    return Number.isSafeInteger(used) && used >= 0 ? bytes(used) : null
  }

  hostCpuPercent(hostId: string): number | null {
    return this.#hostCpu.get(hostId)?.smoothed.value ?? null
  }

  secondsAbove(hostId: string, percent: number): number {
    return this.#hostCpu.get(hostId)?.busy.secondsAbove(percent) ?? 0
  }

  noteHost(hostId: string, stats: HostStats__Output | null | undefined): void {
    if (!stats) return
    this.#hosts.set(hostId, stats)
    const cpu = this.#hostCpu.get(hostId) ?? { smoothed: new Smoothed(), busy: new BusyMinutes() }
    this.#hostCpu.set(hostId, cpu)
    const time = secondsOf(stats.time)
    cpu.smoothed.note(stats.cpuPercent, time)
    cpu.busy.note(stats.cpuPercent, time)
  }

  noteVm(hostId: string, vmId: string, stats: VmStats__Output | null | undefined): void {
    if (!stats) return
    this.#vms.set(vmId, stats)
    const cpu = this.#vmCpu.get(vmId) ?? new Smoothed()
    this.#vmCpu.set(vmId, cpu)
    cpu.note(stats.cpuPercent, secondsOf(stats.time))
    const all = this.#vmsOfHost.get(hostId) ?? new Set()
    this.#vmsOfHost.set(hostId, all.add(vmId))
  }

  /** A round of statistics, packed in columns: column i belongs to vmIds[i]. */
  noteSamples(hostId: string, samples: Samples__Output): void {
    this.noteHost(hostId, samples.host)
    const seen = new Set(samples.vmIds)
    for (const vmId of this.#vmsOfHost.get(hostId) ?? []) {
      if (!seen.has(vmId)) this.#forgetVm(vmId)
    }
    this.#vmsOfHost.set(hostId, new Set())
    for (const [index, vmId] of samples.vmIds.entries()) {
      const before = this.#vms.get(vmId)
      this.noteVm(hostId, vmId, {
        time: samples.time,
        cpuPercent: samples.cpuPercent[index] ?? 0,
        residentBytes: samples.residentBytes[index] ?? '0',
        guestUsedBytes: samples.guestUsedBytes[index] ?? '0',
        disks: before?.disks ?? [],
        nics: before?.nics ?? []
      })
    }
  }

  forget(hostId: string): void {
    this.#hosts.delete(hostId)
    this.#hostCpu.delete(hostId)
    for (const vmId of this.#vmsOfHost.get(hostId) ?? []) this.#forgetVm(vmId)
    this.#vmsOfHost.delete(hostId)
  }

  #forgetVm(vmId: string): void {
    this.#vms.delete(vmId)
    this.#vmCpu.delete(vmId)
  }
}

/** The host's own time; only differences matter. */
const secondsOf = (time: { seconds?: unknown; nanos?: unknown } | null) =>
  Number(time?.seconds ?? 0) + Number(time?.nanos ?? 0) / 1e9
