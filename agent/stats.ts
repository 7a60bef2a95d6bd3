import type { Clock } from '../common/clock.js'
import type { Seconds } from '../common/units.js'
import type { Libvirt } from '../libvirt/connections.js'
import { domainStats, type DomainStats } from '../libvirt/stats.js'
import type { Samples } from '../proto/generated/types/drover/agent/v1/Samples.js'
import { hostStatsMessage, type Host } from './host.js'
import type { HostStatsReader } from './host-stats.js'
import type { ProcessUsage } from './process-usage.js'
import { qemuProcess } from './qemu-process.js'
import type { Vm } from './vm.js'
import type { VmStats } from './vm-stats.js'
import type { Vms } from './vms.js'
import { wireTime } from './wire.js'

type Parts = {
  vms: Vms
  libvirt: Libvirt
  host: Host
  reader: HostStatsReader
  clock: Clock
  libvirtSocket: string
}
type Followed = { process: ProcessUsage; cpuSeconds: number; at: Seconds }

const bulkEvery = 30
const shortest = 0.2

/**
 * Statistics in rounds of a second: CPU and memory of each QEMU out of /proc, which costs next to nothing;
 * disks, nics and balloons in one bulk question to libvirt every thirty rounds: libvirtd asks each QEMU for
 * them, which costs a thousand times as much (docs/benchmarks.md, `agent-cost`).
 */
export class Stats {
  readonly #parts: Parts
  readonly #followed = new Map<string, Followed>()
  #rounds = 0
  #samples: Samples | null = null

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The latest round, packed in columns. */
  samples(): Samples | null {
    return this.#samples
  }

  async round(signal: AbortSignal): Promise<void> {
    const { vms, host, reader, libvirt } = this.#parts
    host.stats = await reader.read()
    const running = vms.running()
    await this.#follow(running)
    for (const vm of running) this.#ofProcess(vm)
    if (this.#rounds++ % bulkEvery === 0 && running.length > 0 && libvirt.isUp) await this.#bulk(signal)
    this.#pack(running)
  }

  async #bulk(signal: AbortSignal): Promise<void> {
    const { libvirt, vms } = this.#parts
    for (const stats of await domainStats(libvirt, { groups: ['balloon', 'interface', 'block'] }, signal)) {
      const vm = vms.find(stats.uuid)
      if (vm && !vm.foreign) vm.stats = { ...(vm.stats ?? this.#empty()), ...bulkOf(stats, vm) }
    }
    vms.markUnresponsive(libvirt.unresponsive())
  }

  /** Looks for the processes of VMs that are new, and lets go of those whose VM does not run any more. */
  async #follow(running: Vm[]): Promise<void> {
    const ids = new Set(running.map(({ id }) => id))
    for (const id of this.#followed.keys()) if (!ids.has(id)) this.#letGo(id)
    const at = this.#parts.clock.monotonic()
    for (const { id } of running) {
      if (this.#followed.has(id)) continue
      const process = await qemuProcess(this.#parts.libvirtSocket, id)
      if (process) this.#followed.set(id, { process, cpuSeconds: process.read()?.cpuSeconds ?? 0, at })
    }
  }

  #ofProcess(vm: Vm): void {
    const followed = this.#followed.get(vm.id)
    if (!followed) return
    const seen = followed.process.read()
    if (seen === null) return this.#letGo(vm.id)
    const { clock } = this.#parts
    const now = clock.monotonic()
    const passed = now - followed.at
    const { cpuSeconds, residentBytes } = seen
    // A look right after the first one would see either nothing or a whole tick.
    const cpuPercent = passed < shortest ? 0 : (100 * (cpuSeconds - followed.cpuSeconds)) / passed
    if (passed >= shortest) Object.assign(followed, { cpuSeconds, at: now })
    vm.stats = { ...(vm.stats ?? this.#empty()), at: clock.wall(), cpuPercent, residentBytes }
  }

  #letGo(id: string): void {
    this.#followed.get(id)?.process.close()
    this.#followed.delete(id)
  }

  #empty(): VmStats {
    const { clock } = this.#parts
    return { at: clock.wall(), cpuPercent: 0, residentBytes: 0, guestUsedBytes: 0, disks: [], nics: [] }
  }

  #pack(running: Vm[]): void {
    const { host, clock } = this.#parts
    const counted = running.flatMap(({ id, stats }) => (stats ? [{ id, stats }] : []))
    const column = (value: (stats: VmStats) => number) => counted.map(({ stats }) => String(value(stats)))
    this.#samples = {
      time: wireTime(clock.wall()),
      vmIds: counted.map(({ id }) => id),
      cpuPercent: counted.map(({ stats }) => stats.cpuPercent),
      residentBytes: column(stats => stats.residentBytes),
      guestUsedBytes: column(stats => stats.guestUsedBytes),
      diskReadBytes: column(stats => sum(stats.disks, disk => disk.readBytes)),
      diskWrittenBytes: column(stats => sum(stats.disks, disk => disk.writtenBytes)),
      netReceivedBytes: column(stats => sum(stats.nics, nic => nic.receivedBytes)),
      netSentBytes: column(stats => sum(stats.nics, nic => nic.sentBytes)),
      host: host.stats && hostStatsMessage(host.stats)
    }
  }
}

function bulkOf(
  { balloon, disks, nics }: DomainStats,
  vm: Vm
): Pick<VmStats, 'guestUsedBytes' | 'disks' | 'nics'> {
  const { availableKiB, usableKiB, unusedKiB } = balloon ?? {}
  const free = usableKiB ?? unusedKiB
  return {
    guestUsedBytes: availableKiB != null && free != null ? Math.max(0, availableKiB - free) * 1024 : 0,
    // Drives are no disks: what is in them changes.
    disks: disks
      .filter(({ name }) => !vm.driveTargets.has(name))
      .map(({ name, read, write, allocation }) => ({
        diskId: vm.diskIds.get(name) ?? '',
        readBytes: read.bytes,
        writtenBytes: write.bytes,
        readRequests: read.requests,
        writeRequests: write.requests,
        allocationBytes: allocation ?? 0
      })),
    nics: nics.map(({ name, rx, tx }) => ({
      mac: vm.macs.get(name) ?? '',
      receivedBytes: rx.bytes,
      sentBytes: tx.bytes
    }))
  }
}

const sum = <T>(items: T[], value: (item: T) => number) => items.reduce((all, item) => all + value(item), 0)
