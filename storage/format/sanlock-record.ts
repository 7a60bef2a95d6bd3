import { type Bytes, bytes } from '../../common/units.js'
import { sanlockChecksum } from './crc32c.js'
import { FormatError } from './format-error.js'

// The first sector of a sanlock lease, little-endian. sanlock itself writes them; we read them, and rewrite
// one kind: the host record of a machine that is proven off (see `clearedHostRecord`).
//
//     0  magic     paxos 0x06152010 (a resource), delta 0x12212010 (a host in `ids`), 0x11282016 (cleared)
//     4  version   8  flags: 0x10 1 MiB, 0x20 2 MiB, 0x40 4 MiB, 0x80 8 MiB; 0x1 short hold
//    12  sector size     16  number of hosts (delta: 0)    24  greatest number of hosts (delta: 1)
//    32  owner's host id     40  owner's generation     48  version of the lease
//    56  lockspace (48 bytes)     104  resource, or the host's name in a delta lease (48 bytes)
//   152  timestamp in seconds of the owner's clock, 0 = free     168  checksum of the 168 bytes before
//   174  io timeout in seconds

export const recordSize = 512
const checked = 168
const magics = { paxos: 0x06152010, delta: 0x12212010, cleared: 0x11282016 } as const
const versions = { paxos: 0x00060004, delta: 0x00030004, cleared: 0x00060004 } as const
const nameSize = 48

export type SanlockRecord = {
  kind: keyof typeof magics
  version: number
  alignment: Bytes
  shortHold: boolean
  sectorSize: 512 | 4096
  hosts: bigint
  maxHosts: bigint
  ownerId: bigint
  ownerGeneration: bigint
  leaseVersion: bigint
  lockspace: string
  /** A resource's name; of a delta lease the name of the host that holds it. */
  resource: string
  /** 0 when nobody holds the lease. */
  timestamp: bigint
  ioTimeout: number
  checksum: number
  checksumValid: boolean
}

/** The record in a sector; null when no lease was ever written there. */
export function readSanlockRecord(sector: Buffer): SanlockRecord | null {
  if (sector.length < 176)
    throw new FormatError('truncated', `a lease record has 176 bytes, not ${sector.length}`)
  const magic = sector.readUInt32LE(0)
  if (magic === 0) return null
  const kind = (['paxos', 'delta', 'cleared'] as const).find(name => magics[name] === magic)
  if (kind === undefined) throw new FormatError('invalid', `not a lease: magic 0x${magic.toString(16)}`, 0)
  const flags = sector.readUInt32LE(8)
  const checksum = sector.readUInt32LE(checked)
  return {
    kind,
    version: sector.readUInt32LE(4),
    alignment: alignmentOf(flags),
    shortHold: (flags & 1) !== 0,
    sectorSize: sectorSizeOf(sector.readUInt32LE(12)),
    hosts: sector.readBigUInt64LE(16),
    maxHosts: sector.readBigUInt64LE(24),
    ownerId: sector.readBigUInt64LE(32),
    ownerGeneration: sector.readBigUInt64LE(40),
    leaseVersion: sector.readBigUInt64LE(48),
    lockspace: nameAt(sector, 56),
    resource: nameAt(sector, 104),
    timestamp: sector.readBigUInt64LE(152),
    ioTimeout: sector.readUInt16LE(174),
    checksum,
    checksumValid: checksum === sanlockChecksum(sector.subarray(0, checked))
  }
}

function alignmentOf(flags: number): Bytes {
  for (const mebibytes of [2, 4, 8]) if ((flags & (mebibytes << 4)) !== 0) return bytes(mebibytes * 2 ** 20)
  return bytes(2 ** 20)
}

function sectorSizeOf(value: number): 512 | 4096 {
  if (value === 512 || value === 4096) return value
  throw new FormatError('invalid', `a sector has 512 or 4096 bytes, not ${value}`, 12)
}

function nameAt(sector: Buffer, at: number): string {
  const end = sector.indexOf(0, at)
  return sector.toString('latin1', at, end < 0 || end > at + nameSize ? at + nameSize : end)
}

/** The sector that holds a record; its checksum is computed, whatever the record says. */
export function writeSanlockRecord(record: Omit<SanlockRecord, 'checksum' | 'checksumValid'>): Buffer {
  const sector = Buffer.alloc(record.sectorSize)
  sector.writeUInt32LE(magics[record.kind], 0)
  sector.writeUInt32LE(record.version, 4)
  sector.writeUInt32LE(((record.alignment / 2 ** 20) << 4) | (record.shortHold ? 1 : 0), 8)
  sector.writeUInt32LE(record.sectorSize, 12)
  sector.writeBigUInt64LE(record.hosts, 16)
  sector.writeBigUInt64LE(record.maxHosts, 24)
  sector.writeBigUInt64LE(record.ownerId, 32)
  sector.writeBigUInt64LE(record.ownerGeneration, 40)
  sector.writeBigUInt64LE(record.leaseVersion, 48)
  writeName(sector, record.lockspace, 56)
  writeName(sector, record.resource, 104)
  sector.writeBigUInt64LE(record.timestamp, 152)
  sector.writeUInt16LE(record.ioTimeout, 174)
  return sealed(sector)
}

function writeName(sector: Buffer, name: string, at: number): void {
  if (name.length > nameSize || !/^[\x01-\xff]*$/.test(name)) {
    throw new FormatError('invalid', `not a name of at most ${nameSize} characters: ${name}`, at)
  }
  sector.write(name, at, 'latin1')
}

function sealed(sector: Buffer): Buffer {
  sector.writeUInt32LE(sanlockChecksum(sector.subarray(0, checked)), checked)
  return sector
}

/** The record of a host id that nobody has used yet, as sanlock initialises it. */
export function unusedHostRecord(
  lockspace: string,
  sectorSize: 512 | 4096,
  alignment: Bytes,
  ioTimeout: number
): SanlockRecord {
  return {
    kind: 'delta',
    version: versions.delta,
    alignment,
    shortHold: false,
    sectorSize,
    hosts: 0n,
    maxHosts: 1n,
    ownerId: 0n,
    ownerGeneration: 0n,
    leaseVersion: 0n,
    lockspace,
    resource: '',
    timestamp: 0n,
    ioTimeout,
    checksum: 0,
    checksumValid: true
  }
}

/** How many host ids a lockspace of this geometry has. */
export function hostIdCount(sectorSize: 512 | 4096, alignment: Bytes): number {
  return sectorSize === 512 ? 2000 : Math.min(2000, 250 * (alignment / 2 ** 20))
}

/** What must be true of a dead host's record before it may be cleared: all of it comes from the proof. */
export type HostProof = {
  lockspace: string
  sanlockHostId: number
  hostName: string
  generation: bigint
  /** The timestamp read when the machine's power was first seen off. */
  timestamp: bigint
}

/**
 * The sector to write over the record of a host that is proven off, so that others may take its leases at
 * their next attempt. It is what the host itself writes when it leaves: timestamp 0, everything else kept.
 * Refused when the record is not the one the proof speaks of; then the host is alive or another took its id.
 */
export function clearedHostRecord(sector: Buffer, proof: HostProof): Buffer {
  const record = readSanlockRecord(sector)
  const objection =
    record === null || record.kind !== 'delta'
      ? 'there is no host record'
      : !record.checksumValid
        ? 'its checksum is wrong'
        : disagreement(record, proof)
  if (objection !== null) {
    throw new FormatError(
      'invalid',
      `the record of host id ${proof.sanlockHostId} is not cleared: ${objection}`
    )
  }
  const cleared = Buffer.from(sector)
  cleared.writeBigUInt64LE(0n, 152)
  return sealed(cleared)
}

function disagreement(record: SanlockRecord, proof: HostProof): string | null {
  if (record.lockspace !== proof.lockspace) return `it belongs to lockspace ${record.lockspace}`
  if (record.ownerId !== BigInt(proof.sanlockHostId)) return `it belongs to host id ${record.ownerId}`
  if (record.resource !== proof.hostName) return `it belongs to host ${record.resource}`
  if (record.ownerGeneration !== proof.generation) return `its generation is ${record.ownerGeneration}`
  if (record.timestamp !== proof.timestamp) return 'it was renewed after the host was seen off'
  return null
}
