import type { Bandwidth, DiskLimits, NetworkLimits } from '../common/limits.js'
import type { DomainSpec } from './domain-spec.js'
import type { Bandwidth as LibvirtBandwidth, BlockIoTune, CpuTune } from './tuning.js'
import { element, textElement, type XmlElement } from './xml.js'

// Limits in libvirt's words: in the XML of a VM, and as the parameters that change them while it runs. PURE.

/** Microseconds, libvirt's usual period. */
export const cpuPeriod = 100_000
const leastQuota = 1000
/** No value of its own means the weight that libvirt gives; there is no way back to "none" but this. */
const usualShares = 1024

/** The quota of one vCPU: the VM's share, split evenly. */
export const quotaOf = (percent: number, vcpus: number): number =>
  Math.max(leastQuota, Math.floor((percent / 100 / vcpus) * cpuPeriod))

export function cpuTuneElement({
  cpuLimits,
  vcpus
}: Pick<DomainSpec, 'cpuLimits' | 'vcpus'>): XmlElement | false {
  if (!cpuLimits) return false
  const { shares, percent } = cpuLimits
  return element(
    'cputune',
    {},
    shares > 0 && textElement('shares', shares),
    percent > 0 && textElement('period', cpuPeriod),
    percent > 0 && textElement('quota', quotaOf(percent, vcpus))
  )
}

export function ioTuneElement(limits: DiskLimits | null | undefined): XmlElement | false {
  if (!limits) return false
  const given = Object.entries(ioTune(limits)).filter(([, value]) => typeof value === 'number' && value > 0)
  return element('iotune', {}, ...given.map(([name, value]) => textElement(name, value)))
}

export function bandwidthElement(limits: NetworkLimits | null | undefined): XmlElement | false {
  if (!limits) return false
  const way = (name: string, { averageKibSec, peakKibSec, burstKib }: Bandwidth) =>
    element(name, { average: averageKibSec, peak: peakKibSec || null, burst: burstKib || null })
  return element(
    'bandwidth',
    {},
    limits.inbound && way('inbound', limits.inbound),
    limits.outbound && way('outbound', limits.outbound)
  )
}

/** All of them: what is 0 is lifted. */
export function ioTune(limits: DiskLimits | null): BlockIoTune {
  return {
    total_bytes_sec: limits?.totalBytesSec ?? 0,
    read_bytes_sec: limits?.readBytesSec ?? 0,
    write_bytes_sec: limits?.writeBytesSec ?? 0,
    total_iops_sec: limits?.totalIopsSec ?? 0,
    read_iops_sec: limits?.readIopsSec ?? 0,
    write_iops_sec: limits?.writeIopsSec ?? 0
  }
}

export function bandwidthOf(limits: NetworkLimits | null): {
  inbound: LibvirtBandwidth
  outbound: LibvirtBandwidth
} {
  const way = (limit: Bandwidth | null | undefined): LibvirtBandwidth => ({
    average: limit?.averageKibSec ?? 0,
    peak: limit?.peakKibSec ?? 0,
    burst: limit?.burstKib ?? 0
  })
  return { inbound: way(limits?.inbound), outbound: way(limits?.outbound) }
}

export function cpuTune(limits: DomainSpec['cpuLimits'], vcpus: number): CpuTune {
  return {
    shares: limits?.shares || usualShares,
    vcpuPeriod: cpuPeriod,
    vcpuQuota: limits && limits.percent > 0 ? quotaOf(limits.percent, vcpus) : -1
  }
}
