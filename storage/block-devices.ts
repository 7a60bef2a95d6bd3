import { basename } from 'node:path'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { realDevice } from './block-group.js'
import type { BlockStorageDomain } from './block-storage-domain.js'
import { mostPvs, throwIfTaken } from './create-block-storage-domain.js'
import { freePvNumber } from './format/block-tags.js'
import type { PvMapping } from './format/storage-domain-metadata.js'

/**
 * More room: a device becomes a physical volume without metadata of its own, joins the VG, and is named in the
 * storage domain's metadata. Every other host has to be told of it before it sees the VG whole again.
 */
export async function addDevice(
  storageDomain: BlockStorageDomain,
  device: string,
  run: Run,
  signal: AbortSignal
): Promise<void> {
  const { group, leases, identity } = storageDomain
  await using manager = await leases.asManager(signal)
  void manager
  const real = await realDevice(device)
  const isMember = async () => [...(await group.read()).reading.devices.values()].includes(real)
  const before = group.devices
  const devices = before.includes(device) ? before : [...before, device]
  if (devices.length > mostPvs) {
    throw new Fault(
      'WRONG_STATE',
      `storage domain ${identity.id} has ${before.length} devices; ${mostPvs} are the limit`
    )
  }
  await group.useDevices(devices)
  try {
    if (!(await isMember())) {
      await throwIfTaken(device, group.vg, run, signal)
      await idempotent('storage-domain.add-device.block/pv', () =>
        group.changeUnchecked({ kind: 'createPvs', pvs: [device], force: true }, signal)
      )
      await crashpoint('storage-domain.add-device.block/vg')
      await group.change({ kind: 'extendVg', vg: group.vg, pvs: [device] }, signal)
      await group.useDevices(devices)
    }
  } catch (error) {
    if (!(await isMember().catch(() => true))) await group.useDevices(before)
    throw error
  }
  await idempotent('storage-domain.add-device.block/mapping', () =>
    nameInMetadata(storageDomain, device, real)
  )
  await crashpoint('storage-domain.add-device.block/done')
}

async function nameInMetadata({ identity, group }: BlockStorageDomain, device: string, real: string) {
  const { pvs } = await identity.metadata()
  const { reading } = await group.read()
  const pv = reading.group.pvs.find(({ name }) => reading.devices.get(name) === real)
  if (pv === undefined || [...pvs.values()].some(({ uuid }) => uuid === pv.uuid)) return
  const offset = [...pvs.values()].reduce((sum, { extents }) => sum + extents, 0)
  const mapping: PvMapping = {
    device: basename(device),
    uuid: pv.uuid,
    start: 0,
    extents: pv.extents,
    offset
  }
  const changed = new Map([...pvs, [freePvNumber(pvs.keys()), mapping]])
  await identity.change({ pvs: changed }, 'storage-domain.add-device.block/mapping')
}

/** A device that became larger: LVM is told. The numbers in the metadata stay, as oVirt leaves them. */
export async function resizeDevice(
  { group, leases }: BlockStorageDomain,
  device: string,
  signal: AbortSignal
): Promise<void> {
  await using manager = await leases.asManager(signal)
  void manager
  if (!group.devices.includes(device)) {
    throw new Fault('NOT_FOUND', `the device ${device} is none of storage domain ${group.vg}`)
  }
  await idempotent('storage-domain.resize-device.block/pv', () =>
    group.change({ kind: 'resizePv', pv: device }, signal)
  )
  await crashpoint('storage-domain.resize-device.block/done')
}
