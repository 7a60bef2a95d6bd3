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
  await idempotent('storage-domain.add-device.block/mapping', () => nameDevices(storageDomain))
  await crashpoint('storage-domain.add-device.block/done')
}

/** Physical volumes that the metadata does not name yet; what was done, in words. */
export async function nameDevices({ identity, group }: BlockStorageDomain): Promise<string[]> {
  const pvs = new Map((await identity.metadata()).pvs)
  const { reading } = await group.read()
  const named = new Set([...pvs.values()].map(({ uuid }) => uuid))
  const done: string[] = []
  for (const { name, uuid, extents } of reading.group.pvs) {
    const real = reading.devices.get(name)
    if (named.has(uuid) || real === undefined) continue
    const given = await givenName(group.devices, real)
    const offset = [...pvs.values()].reduce((sum, pv) => sum + pv.extents, 0)
    const mapping: PvMapping = { device: basename(given), uuid, start: 0, extents, offset }
    pvs.set(freePvNumber(pvs.keys()), mapping)
    done.push(`device ${given}: named in the metadata`)
  }
  if (done.length > 0) await identity.change({ pvs }, 'storage-domain.add-device.block/mapping')
  return done
}

export async function givenName(devices: readonly string[], real: string): Promise<string> {
  for (const device of devices) if ((await realDevice(device)) === real) return device
  return real
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
