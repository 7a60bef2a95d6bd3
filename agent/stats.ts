import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../common/clock.js'
import type { Seconds } from '../common/units.js'
import type { Libvirt } from '../libvirt/connections.js'
import { domainStats, type DomainStats } from '../libvirt/stats.js'
import type { Samples } from '../proto/generated/types/drover/agent/v1/Samples.js'
import { hostStatsMessage, type Host } from './host.js'
import type { HostStatsReader } from './host-stats.js'
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
type Usage = { ticks: number; at: Seconds; pid: number }

const ticksPerSecond = 100
const pageSize = 4096
const bulkEvery = 10

/**
 * Statistics in rounds of a second: CPU and memory of each QEMU out of /proc, which costs next to nothing;
 * disks, nics and balloons in one bulk question to libvirt every ten rounds.
 */
export class Stats {
  readonly #parts: Parts
  readonly #usage = new Map<string, Usage>()
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
    await Promise.all(running.map(vm => this.#ofProcess(vm)))
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

  async #ofProcess(vm: Vm): Promise<void> {
    const now = this.#parts.clock.monotonic()
    const before = this.#usage.get(vm.id)
    const seen = await readProcess(before?.pid ?? (await this.#pidOf(vm)))
    if (seen === null) return void this.#usage.delete(vm.id)
    this.#usage.set(vm.id, { ...seen, at: now })
    const passed = before ? now - before.at : 0
    const cpuPercent =
      before && passed > 0 ? (100 * (seen.ticks - before.ticks)) / ticksPerSecond / passed : 0
    const { residentBytes } = seen
    vm.stats = { ...(vm.stats ?? this.#empty()), at: this.#parts.clock.wall(), cpuPercent, residentBytes }
  }

  async #pidOf({ id }: Vm): Promise<number> {
    const file = `${dirname(this.#parts.libvirtSocket)}/qemu/drover-${id}.pid`
    const pid = Number(await readFile(file, 'utf8').catch(() => '0'))
    // The number may be of another namespace, or reused.
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return commandLine.includes(id) ? pid : 0
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

/** CPU ticks and resident memory of a process; null if it is gone. */
async function readProcess(pid: number) {
  if (pid === 0) return null
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
  return stat === null ? null : { pid, ...usageIn(stat) }
}

/** /proc/PID/stat: the name in brackets may contain anything, numbers follow its last bracket. */
export function usageIn(stat: string): { ticks: number; residentBytes: number } {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const number = (index: number) => Number(fields[index - 3] ?? 0)
  return { ticks: number(14) + number(15), residentBytes: number(24) * pageSize }
}

function bulkOf(
  { balloon, disks, nics }: DomainStats,
  vm: Vm
): Pick<VmStats, 'guestUsedBytes' | 'disks' | 'nics'> {
  const { availableKiB, usableKiB, unusedKiB } = balloon ?? {}
  const free = usableKiB ?? unusedKiB
  return {
    guestUsedBytes: availableKiB != null && free != null ? Math.max(0, availableKiB - free) * 1024 : 0,
    disks: disks.map(({ name, read, write, allocation }) => ({
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
