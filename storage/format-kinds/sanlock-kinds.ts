import { type Bytes, MiB } from '../../common/units.js'
import { FormatError } from '../format/format-error.js'
import {
  type SanlockRecord,
  hostIdCount,
  readSanlockRecord,
  unusedHostRecord,
  writeSanlockRecord
} from '../format/sanlock-record.js'
import { At, type Json, type JsonObject } from './json.js'
import type { Kind } from './kind.js'

function hostJson(hostId: number, record: SanlockRecord): JsonObject {
  return {
    hostId,
    lockspace: record.lockspace,
    hostName: record.resource,
    generation: record.ownerGeneration,
    ownerId: record.ownerId,
    leaseVersion: record.leaseVersion,
    timestamp: record.timestamp,
    ioTimeout: record.ioTimeout,
    alignment: record.alignment,
    sectorSize: record.sectorSize,
    checksum: record.checksum,
    checksumValid: record.checksumValid
  }
}

function seconds16(field: At): number {
  const value = field.number()
  if (value < 0 || value > 0xffff) throw field.wrong('a number of 16 bits')
  return value
}

function hostRecordOf(host: At): SanlockRecord {
  const optional = (key: string, otherwise: bigint) => (host.has(key) ? host.get(key).longWord() : otherwise)
  const sectorSize = host.has('sectorSize') ? host.get('sectorSize').sectorSize() : 512
  const alignment = host.has('alignment') ? host.get('alignment').alignment() : MiB(1)
  const ioTimeout = host.has('ioTimeout') ? seconds16(host.get('ioTimeout')) : 10
  const unused = unusedHostRecord(host.get('lockspace').text(), sectorSize, alignment, ioTimeout)
  return {
    ...unused,
    ownerId: optional('ownerId', host.get('hostId').longWord()),
    ownerGeneration: optional('generation', 0n),
    leaseVersion: optional('leaseVersion', 0n),
    resource: host.has('hostName') ? host.get('hostName').text() : '',
    timestamp: optional('timestamp', 0n)
  }
}

/** Never held by anybody. Two thousand of these would hide the few that matter. */
const isUnused = (record: SanlockRecord): boolean => record.timestamp === 0n && record.ownerGeneration === 0n

export const sanlockIds: Kind = {
  name: 'sanlock-ids',
  about:
    'the host records in ids: who held which host id, and when it was renewed last (unused ids left out)',
  decode(content, options) {
    const first = readSanlockRecord(content)
    if (first === null) throw new FormatError('missing', 'no lockspace was written here', 0)
    const sectorSize = options.sectorSize ?? first.sectorSize
    const hosts: Json[] = []
    for (let hostId = 1; hostId * sectorSize <= content.length; hostId++) {
      const record = readSanlockRecord(content.subarray((hostId - 1) * sectorSize, hostId * sectorSize))
      if (record !== null && !isUnused(record)) hosts.push(hostJson(hostId, record))
    }
    return hosts.length > 0 ? hosts : [hostJson(1, first)]
  },
  encode(json) {
    const hosts = new Map(new At(json).list().map(host => [host.get('hostId').word(), hostRecordOf(host)]))
    const [model] = hosts.values()
    if (model === undefined)
      throw new FormatError('missing', 'at least one host is needed to know the lockspace')
    return idsArea(hosts, model, model.alignment)
  }
}

/** A whole lockspace: the given records, and unused ones for all other host ids. */
function idsArea(hosts: Map<number, SanlockRecord>, model: SanlockRecord, alignment: Bytes): Buffer {
  const { lockspace, sectorSize, ioTimeout } = model
  const area = Buffer.alloc(alignment)
  const unused = writeSanlockRecord(unusedHostRecord(lockspace, sectorSize, alignment, ioTimeout))
  for (let hostId = 1; hostId <= hostIdCount(sectorSize, alignment); hostId++) {
    const record = hosts.get(hostId)
    const sector = record === undefined ? unused : writeSanlockRecord(record)
    sector.copy(area, (hostId - 1) * sectorSize)
  }
  return area
}

function leaseJson(record: SanlockRecord): JsonObject {
  const { resource, ownerGeneration, ...others } = record
  return { ...others, resource, generation: ownerGeneration }
}

export const sanlockLease: Kind = {
  name: 'sanlock-lease',
  about: 'the first sector of one sanlock lease (a resource or a host)',
  decode(content) {
    const record = readSanlockRecord(content)
    if (record === null) throw new FormatError('missing', 'no lease was written here', 0)
    return leaseJson(record)
  },
  encode(json) {
    const input = new At(json)
    const kind = input.get('kind').text()
    if (kind !== 'paxos' && kind !== 'delta' && kind !== 'cleared')
      throw input.get('kind').wrong('a kind of lease')
    return writeSanlockRecord({
      kind,
      version: input.get('version').word(),
      alignment: input.get('alignment').alignment(),
      shortHold: input.get('shortHold').boolean(),
      sectorSize: input.get('sectorSize').sectorSize(),
      hosts: input.get('hosts').longWord(),
      maxHosts: input.get('maxHosts').longWord(),
      ownerId: input.get('ownerId').longWord(),
      ownerGeneration: input.get('generation').longWord(),
      leaseVersion: input.get('leaseVersion').longWord(),
      lockspace: input.get('lockspace').text(),
      resource: input.get('resource').text(),
      timestamp: input.get('timestamp').longWord(),
      ioTimeout: seconds16(input.get('ioTimeout'))
    })
  }
}
