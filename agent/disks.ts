import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Locks, Want } from '../common/locks.js'
import { Rollback } from '../common/rollback.js'
import type { ChainLink, DiskSpec, LeaseSpec } from '../libvirt/domain-spec.js'
import { drivesOf, driveSpec, mediaOf, type Medium } from './cd-drives.js'
import { lunsOf, lunSpec, type LunPort } from './luns.js'
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

/** A volume that a VM uses; several VMs may use it at once where none writes it, or all may. */
type Use = Medium & { isAlone: boolean }

/** Makes the disks of a VM usable on this host, and lets go of them. */
export class Disks {
  readonly #volumes: VolumePort
  readonly #locks: Locks<LockLevel>
  readonly #log: Logger
  readonly #luns: LunPort
  /** Who runs here beside a VM: what an earlier life of the agent prepared is known only from them. */
  readonly #others: (vmId: string) => VmSpec[]
  /** VMs by the image that was prepared for them. */
  readonly #users = new Map<string, Set<string>>()

  constructor(
    volumes: VolumePort,
    locks: Locks<LockLevel>,
    log: Logger,
    luns: LunPort,
    others: (vmId: string) => VmSpec[] = () => []
  ) {
    this.#luns = luns
    this.#volumes = volumes
    this.#locks = locks
    this.#log = log
    this.#others = others
  }

  /** All of them or none, CDs behind the disks. Idempotent. */
  async prepare(spec: VmSpec, signal: AbortSignal): Promise<DiskSpec[]> {
    await using rollback = new Rollback(this.#log)
    const { vmId, disks, bootFromCd = false } = spec
    const drives = drivesOf(spec)
    const luns = lunsOf(spec)
    const bootOf = (index: number, isCd: boolean) =>
      index + 1 + (isCd === bootFromCd ? 0 : isCd ? disks.length + luns.length : drives.length)
    const prepared: DiskSpec[] = []
    for (const [index, disk] of disks.entries()) {
      rollback.onFailure('tear down', () => this.#letGo(vmId, useOf(disk)))
      const { chain, hasDirectIo } = await this.#reach(vmId, useOf(disk), signal)
      if (disk.shareable) throwUnlessShareable(disk, chain, hasDirectIo)
      prepared.push({
        ...{ diskId: disk.diskId, bus: disk.bus, isCdrom: disk.cdrom, isReadOnly: disk.readOnly },
        ...{ slot: disk.slot, chain, hasDirectIo, limits: disk.limits ?? null },
        ...{ boot: bootOf(index, false), isShareable: disk.shareable ?? false }
      })
    }
    for (const [index, lun] of luns.entries()) {
      const device = await this.#luns.forVm(lun, signal)
      if (lun.reservations && !(await this.#luns.canReserve())) {
        throw new Fault('WRONG_STATE', 'this host has no qemu-pr-helper for reservations of LUNs', {
          facts: { lun: lun.wwid }
        })
      }
      prepared.push(lunSpec(lun, device, bootOf(disks.length + index, false)))
    }
    for (const [index, { medium }] of drives.entries()) {
      if (medium) rollback.onFailure('tear down', () => this.letGoOfMedium(vmId, medium))
      const chain = medium ? await this.prepareMedium(vmId, medium, signal) : []
      prepared.push(driveSpec(index, chain, bootOf(index, true)))
    }
    rollback.commit()
    return prepared
  }

  /** Undo and teardown have no caller's signal. A storage domain that does not answer is no reason to fail. */
  async tearDown(spec: VmSpec): Promise<void> {
    for (const use of [...spec.disks.map(useOf), ...mediaOf(spec).map(useOfMedium)]) {
      await this.#letGo(spec.vmId, use).catch((error: unknown) => {
        this.#log.warn({ err: error, image: use.imageId }, 'disk not torn down')
      })
    }
  }

  /** What is put into a CD-ROM drive of a VM. Idempotent. */
  async prepareMedium(vmId: string, medium: Medium, signal: AbortSignal): Promise<ChainLink[]> {
    return (await this.#reach(vmId, useOfMedium(medium), signal)).chain
  }

  async letGoOfMedium(vmId: string, medium: Medium): Promise<void> {
    await this.#letGo(vmId, useOfMedium(medium))
  }

  leaseSpec({ vmId, lease }: VmSpec): LeaseSpec | null {
    if (lease === null) return null
    const { storageDomainId, offset } = lease
    return { lockspace: storageDomainId, key: vmId, path: this.#volumes.leasesPath(storageDomainId), offset }
  }

  async #reach(
    vmId: string,
    use: Use,
    signal: AbortSignal
  ): Promise<{ chain: ChainLink[]; hasDirectIo: boolean }> {
    const { storageDomainId, imageId, volumeId, isAlone } = use
    // Before it waits: who lets go of the image meanwhile must see that it is wanted.
    this.#usersOf(use).add(vmId)
    using _held = await this.#locks.acquire(locksOf(use, isAlone), signal)
    const chain = await this.#volumes.prepare(storageDomainId, { imageId, volumeId }, signal)
    return {
      chain: chain.map(({ kind = 'file', path, format }) => ({ kind, path, format })),
      hasDirectIo: chain.every(volume => volume.hasDirectIo)
    }
  }

  async #letGo(vmId: string, use: Use): Promise<void> {
    const signal = AbortSignal.timeout(60_000)
    const users = this.#usersOf(use)
    users.delete(vmId)
    using _held = await this.#locks.acquire(locksOf(use, true), signal)
    if (users.size > 0 || this.#others(vmId).some(spec => uses(spec, use))) return
    this.#users.delete(keyOf(use))
    await this.#volumes.tearDown(use.storageDomainId, use.imageId, signal)
  }

  #usersOf(use: Use): Set<string> {
    const known = this.#users.get(keyOf(use)) ?? new Set<string>()
    this.#users.set(keyOf(use), known)
    return known
  }
}

/** What one VM writes the others must read at once: past every cache, and with no header that one of them keeps. */
function throwUnlessShareable({ diskId }: VmDisk, chain: ChainLink[], hasDirectIo: boolean): void {
  const isRaw = chain.length === 1 && chain[0]?.format === 'raw'
  if (isRaw && hasDirectIo) return
  const why = isRaw ? 'its storage knows no direct I/O' : 'it is not raw'
  throw new Fault('WRONG_STATE', `disk ${diskId} cannot be written by several VMs: ${why}`, {
    facts: { disk: diskId }
  })
}

const keyOf = ({ storageDomainId, imageId }: Medium) => `${storageDomainId}/${imageId}`

function useOf({ storageDomainId, imageId, volumeId, readOnly, shareable = false }: VmDisk): Use {
  return { storageDomainId, imageId, volumeId, isAlone: !readOnly && !shareable }
}

const useOfMedium = (medium: Medium): Use => ({ ...medium, isAlone: false })

const uses = (spec: VmSpec, use: Use) =>
  [...spec.disks, ...mediaOf(spec)].some(each => keyOf(each) === keyOf(use))

function locksOf({ storageDomainId, imageId, volumeId }: Use, isAlone: boolean): Want<LockLevel>[] {
  return [
    { level: 'storageDomain', id: storageDomainId, mode: 'shared' },
    { level: 'image', id: `${storageDomainId}/${imageId}`, mode: 'shared' },
    { level: 'volume', id: `${storageDomainId}/${volumeId}`, mode: isAlone ? 'exclusive' : 'shared' }
  ]
}
