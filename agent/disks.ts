import type { Logger } from '../common/log.js'
import type { Locks, Want } from '../common/locks.js'
import { Rollback } from '../common/rollback.js'
import type { DiskSpec, LeaseSpec } from '../libvirt/domain-spec.js'
import type { LockLevel } from './tasks.js'
import type { VmDisk, VmSpec } from './vm-spec.js'

/** What is needed of storage here: chains made usable, and the place of leases. */
export type VolumePort = {
  prepare(
    storageDomainId: string,
    place: { imageId: string; volumeId: string },
    signal: AbortSignal
  ): Promise<Array<{ kind?: 'file' | 'block'; path: string; format: 'raw' | 'qcow2'; hasDirectIo: boolean }>>
  tearDown(storageDomainId: string, imageId: string, signal: AbortSignal): Promise<void>
  leasesPath(storageDomainId: string): string
}

/** Makes the disks of a VM usable on this host, and lets go of them. */
export class Disks {
  readonly #volumes: VolumePort
  readonly #locks: Locks<LockLevel>
  readonly #log: Logger

  constructor(volumes: VolumePort, locks: Locks<LockLevel>, log: Logger) {
    this.#volumes = volumes
    this.#locks = locks
    this.#log = log
  }

  /** All of them or none. Idempotent. */
  async prepare({ disks }: VmSpec, signal: AbortSignal): Promise<DiskSpec[]> {
    await using rollback = new Rollback(this.#log)
    const prepared: DiskSpec[] = []
    for (const disk of disks) {
      rollback.onFailure('tear down', () => this.#tearDown(disk))
      prepared.push(await this.#prepare(disk, signal))
    }
    rollback.commit()
    return prepared
  }

  /** Undo and teardown have no caller's signal. A storage domain that does not answer is no reason to fail. */
  async tearDown({ disks }: VmSpec): Promise<void> {
    for (const disk of disks) {
      await this.#tearDown(disk).catch((error: unknown) => {
        this.#log.warn({ err: error, disk: disk.diskId }, 'disk not torn down')
      })
    }
  }

  leaseSpec({ vmId, lease }: VmSpec): LeaseSpec | null {
    if (lease === null) return null
    const { storageDomainId, offset } = lease
    return { lockspace: storageDomainId, key: vmId, path: this.#volumes.leasesPath(storageDomainId), offset }
  }

  async #prepare(disk: VmDisk, signal: AbortSignal): Promise<DiskSpec> {
    const { storageDomainId, imageId, volumeId } = disk
    using _held = await this.#locks.acquire(locksOf(disk), signal)
    const chain = await this.#volumes.prepare(storageDomainId, { imageId, volumeId }, signal)
    return {
      diskId: disk.diskId,
      bus: disk.bus,
      isCdrom: disk.cdrom,
      isReadOnly: disk.readOnly,
      slot: disk.slot,
      chain: chain.map(({ kind = 'file', path, format }) => ({ kind, path, format })),
      hasDirectIo: chain.every(volume => volume.hasDirectIo),
      limits: disk.limits ?? null
    }
  }

  async #tearDown(disk: VmDisk): Promise<void> {
    const signal = AbortSignal.timeout(60_000)
    using _held = await this.#locks.acquire(locksOf(disk), signal)
    await this.#volumes.tearDown(disk.storageDomainId, disk.imageId, signal)
  }
}

function locksOf({ storageDomainId, imageId, volumeId, readOnly }: VmDisk): Want<LockLevel>[] {
  return [
    { level: 'storageDomain', id: storageDomainId, mode: 'shared' },
    { level: 'image', id: `${storageDomainId}/${imageId}`, mode: 'shared' },
    { level: 'volume', id: `${storageDomainId}/${volumeId}`, mode: readOnly ? 'shared' : 'exclusive' }
  ]
}
