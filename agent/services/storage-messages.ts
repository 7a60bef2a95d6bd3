import type { StorageDomainState as WireState } from '../../proto/generated/types/drover/agent/v1/StorageDomainState.js'
import type { StorageConnection as WireConnection } from '../../proto/generated/types/drover/agent/v1/StorageConnection.js'
import type { FoundVm as WireFoundVm } from '../../proto/generated/types/drover/agent/v1/FoundVm.js'
import type { Volume as WireVolume } from '../../proto/generated/types/drover/agent/v1/Volume.js'
import type { StorageConnection } from '../../storage/connections/connection.js'
import type { ObservedHost } from '../../storage/host-records.js'
import type { Discovered, VolumeEntry } from '../../storage/verbs.js'
import type { Seconds } from '../../common/units.js'
import type { SerialMetadata } from '../../storage/verbs.js'
import type { FoundVm } from '../ovf.js'
import type { StorageDomainState } from '../storage-state.js'
import { wireTime, wireTimeOrNull } from '../wire.js'

const healths = {
  inactive: 'STORAGE_DOMAIN_HEALTH_INACTIVE',
  activating: 'STORAGE_DOMAIN_HEALTH_ACTIVATING',
  active: 'STORAGE_DOMAIN_HEALTH_ACTIVE',
  problem: 'STORAGE_DOMAIN_HEALTH_PROBLEM',
  unresponsive: 'STORAGE_DOMAIN_HEALTH_UNRESPONSIVE'
} as const
const kinds = {
  nfs: 'NFS',
  local: 'LOCALFS',
  posix: 'POSIXFS',
  glusterfs: 'GLUSTERFS',
  iscsi: 'ISCSI',
  fcp: 'FCP',
  cifs: 'CIFS'
} as const
const hostStates = {
  unknown: 'HOST_LEASE_STATE_UNSPECIFIED',
  live: 'HOST_LEASE_STATE_LIVE',
  failing: 'HOST_LEASE_STATE_FAILING',
  expired: 'HOST_LEASE_STATE_EXPIRED',
  free: 'HOST_LEASE_STATE_FREE'
} as const
const legalities = {
  legal: 'VOLUME_LEGALITY_LEGAL',
  illegal: 'VOLUME_LEGALITY_ILLEGAL',
  fake: 'VOLUME_LEGALITY_FAKE'
} as const
const roles = {
  leaf: 'VOLUME_ROLE_LEAF',
  internal: 'VOLUME_ROLE_INTERNAL',
  shared: 'VOLUME_ROLE_SHARED'
} as const
const allocations = {
  thin: 'ALLOCATION_POLICY_THIN',
  preallocated: 'ALLOCATION_POLICY_PREALLOCATED'
} as const

/** Also a watch delta's payload. */
export function stateMessage(state: StorageDomainState): WireState {
  const { storageDomainId, health, problem, connection, description, report, lastOk } = state
  return {
    storageDomainId,
    health: healths[health],
    problem,
    totalBytes: String(report?.total ?? 0),
    freeBytes: String(report?.free ?? 0),
    metadataPercent: report?.metadataPercent ?? 0,
    readLatencyMs: report?.latency ?? 0,
    lastOk: wireTimeOrNull(lastOk),
    hostIdHeld: report?.hostIdHeld ?? false,
    manager: report?.isManager ?? false,
    connection: connection === null ? null : connectionMessage(connection),
    metadata: description === null ? null : metadataMessage(description.metadata, description.ioTimeout),
    hostLeases: (report?.hosts ?? []).map(hostMessage)
  }
}

/** What lies at a place, without being connected. */
export function discoveredMessage(found: Discovered, connection: StorageConnection): WireState {
  return {
    storageDomainId: found.storageDomainId,
    health: 'STORAGE_DOMAIN_HEALTH_INACTIVE',
    connection: connectionMessage(connection),
    metadata: metadataMessage(found, found.ioTimeout)
  }
}

function connectionMessage(connection: StorageConnection): WireConnection {
  switch (connection.kind) {
    case 'local':
      return { kind: 'local', local: { path: connection.path } }
    case 'posix':
      return { kind: 'posix', posix: { path: connection.path } }
    case 'block':
      return { kind: 'block', block: { devices: connection.devices } }
    case 'iscsi':
      return { kind: 'iscsi', iscsi: { portals: connection.portals, luns: connection.luns } }
    case 'nfs': {
      const { export: nfsExport, version, timeo, retrans } = connection
      return { kind: 'nfs', nfs: { export: nfsExport, version: version ?? '', timeo, retrans } }
    }
  }
}

function metadataMessage(metadata: SerialMetadata, ioTimeout: Seconds) {
  return {
    description: metadata.description,
    version: metadata.version,
    type: kinds[metadata.kind],
    dataCenterId: metadata.poolIds[0] ?? '',
    blockSize: metadata.sectorSize,
    alignment: String(metadata.alignment),
    ioTimeoutSeconds: ioTimeout
  }
}

function hostMessage(host: ObservedHost) {
  return {
    sanlockHostId: host.sanlockHostId,
    hostName: host.hostName,
    generation: String(host.generation),
    timestamp: String(host.timestamp),
    unchangedSeconds: host.unchanged,
    watchedSeconds: host.watched,
    state: hostStates[host.state]
  }
}

export function volumeMessage({ imageId, volumeId, metadata, allocated }: VolumeEntry): WireVolume {
  return {
    volumeId,
    imageId,
    parentId: metadata.parentId ?? '',
    capacity: String(metadata.capacity),
    allocatedBytes: String(allocated),
    format: metadata.format === 'raw' ? 'DISK_FORMAT_RAW' : 'DISK_FORMAT_QCOW2',
    allocation: allocations[metadata.allocation],
    role: roles[metadata.role],
    legality: legalities[metadata.legality],
    generation: metadata.generation,
    description: metadata.description,
    created: wireTime(metadata.createdAt * 1000),
    iso: metadata.diskContent === 'ISOF'
  }
}

const buses = { virtio: 'DISK_BUS_VIRTIO', scsi: 'DISK_BUS_SCSI', sata: 'DISK_BUS_SATA' } as const

export function foundVmMessage(found: FoundVm): WireFoundVm {
  return {
    ...{ vmId: found.id, name: found.name, description: found.description, template: found.isTemplate },
    ...{ vcpus: found.vcpus, memoryBytes: String(found.memoryMiB * 2 ** 20), macs: found.macs },
    firmware: found.isUefi ? 'FIRMWARE_UEFI' : 'FIRMWARE_BIOS',
    disks: found.disks.map(({ diskId, bus }) => ({ diskId, bus: buses[bus] })),
    problem: found.problem
  }
}
