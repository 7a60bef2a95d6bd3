import { bytes, type Bytes } from '../common/units.js'
import type { HostStats__Output } from '../proto/generated/types/drover/agent/v1/HostStats.js'
import type { Samples__Output } from '../proto/generated/types/drover/agent/v1/Samples.js'
import type { VmStats__Output } from '../proto/generated/types/drover/common/v1/VmStats.js'
import type { Loads } from './jobs/world.js'

/** The latest measurements: too short-lived to be written down, and gone with this life of the coordinator. */
export class Measured implements Loads {
  readonly #hosts = new Map<string, HostStats__Output>()
  readonly #vms = new Map<string, VmStats__Output>()
  readonly #vmsOfHost = new Map<string, Set<string>>()

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
    return this.#vms.get(vmId)?.cpuPercent ?? null
  }

  noteHost(hostId: string, stats: HostStats__Output | null | undefined): void {
    if (stats) this.#hosts.set(hostId, stats)
  }

  noteVm(hostId: string, vmId: string, stats: VmStats__Output | null | undefined): void {
    if (!stats) return
    this.#vms.set(vmId, stats)
    const all = this.#vmsOfHost.get(hostId) ?? new Set()
    this.#vmsOfHost.set(hostId, all.add(vmId))
  }

  /** A round of statistics, packed in columns: column i belongs to vmIds[i]. */
  noteSamples(hostId: string, samples: Samples__Output): void {
    this.noteHost(hostId, samples.host)
    for (const vmId of this.#vmsOfHost.get(hostId) ?? []) {
      if (!samples.vmIds.includes(vmId)) this.#vms.delete(vmId)
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
    for (const vmId of this.#vmsOfHost.get(hostId) ?? []) this.#vms.delete(vmId)
    this.#vmsOfHost.delete(hostId)
  }
}
