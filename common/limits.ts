import type { Fields } from './fields.js'

// What a VM may use at most: as it travels, is kept, and becomes libvirt's settings. Absent numbers are no limit.

export type CpuLimits = {
  /** Weight against other VMs; 0 is the usual one. */
  shares: number
  /** Of one host CPU, for all vCPUs together; 0 is no limit. */
  percent: number
}

export type DiskLimits = {
  totalBytesSec: number
  readBytesSec: number
  writeBytesSec: number
  totalIopsSec: number
  readIopsSec: number
  writeIopsSec: number
}

/** KiB a second; the burst in KiB. */
export type Bandwidth = { averageKibSec: number; peakKibSec: number; burstKib: number }
export type NetworkLimits = { inbound: Bandwidth | null; outbound: Bandwidth | null }

const leastBytes = 64 * 2 ** 10
const mostBytes = 2 ** 40
const mostKib = 2 ** 25

export function readCpuLimits(fields: Fields): CpuLimits {
  const limits = {
    shares: fields.integerOr('shares', 0, 2, 10_000),
    percent: fields.integerOr('percent', 0, 1, 51_200)
  }
  if (limits.shares === 0 && limits.percent === 0) fields.refuse('percent', 'must be given, or shares', null)
  return limits
}

export function readDiskLimits(fields: Fields): DiskLimits {
  const bytes = (field: string) => fields.integerOr(field, 0, leastBytes, mostBytes)
  const operations = (field: string) => fields.integerOr(field, 0, 1, 10_000_000)
  const limits: DiskLimits = {
    ...{ totalBytesSec: bytes('totalBytesSec'), readBytesSec: bytes('readBytesSec') },
    ...{ writeBytesSec: bytes('writeBytesSec'), totalIopsSec: operations('totalIopsSec') },
    ...{ readIopsSec: operations('readIopsSec'), writeIopsSec: operations('writeIopsSec') }
  }
  if (limits.totalBytesSec > 0 && (limits.readBytesSec > 0 || limits.writeBytesSec > 0))
    fields.refuse('totalBytesSec', 'must not be given beside read_bytes_sec or write_bytes_sec', null)
  if (limits.totalIopsSec > 0 && (limits.readIopsSec > 0 || limits.writeIopsSec > 0))
    fields.refuse('totalIopsSec', 'must not be given beside read_iops_sec or write_iops_sec', null)
  if (Object.values(limits).every(value => value === 0))
    fields.refuse('totalBytesSec', 'must be given, or another limit', null)
  return limits
}

export function readNetworkLimits(fields: Fields): NetworkLimits {
  const limits = {
    inbound: fields.optionalMessage('inbound', readBandwidth) ?? null,
    outbound: fields.optionalMessage('outbound', readBandwidth) ?? null
  }
  if (!limits.inbound && !limits.outbound) fields.refuse('inbound', 'must be given, or outbound', null)
  return limits
}

function readBandwidth(fields: Fields): Bandwidth {
  const averageKibSec = fields.integer('averageKibSec', 1, mostKib)
  const peakKibSec = fields.integerOr('peakKibSec', 0, 1, mostKib)
  if (peakKibSec > 0 && peakKibSec < averageKibSec)
    fields.refuse('peakKibSec', 'must be at least average_kib_sec', null)
  return { averageKibSec, peakKibSec, burstKib: fields.integerOr('burstKib', 0, 1, 2 ** 22) }
}

/** Sizes travel as text. */
export const wireDiskLimits = ({ totalBytesSec, readBytesSec, writeBytesSec, ...rest }: DiskLimits) => ({
  ...rest,
  totalBytesSec: String(totalBytesSec),
  readBytesSec: String(readBytesSec),
  writeBytesSec: String(writeBytesSec)
})
