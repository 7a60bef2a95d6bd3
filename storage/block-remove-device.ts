import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { extentsOn, realDevice } from './block-group.js'
import type { BlockStorageDomain } from './block-storage-domain.js'
import { groupOn } from './lvm-reader.js'
import { memberOn, throwIfObstacle } from './plan-device.js'

/**
 * Less room: what lies on a device moves to the others, and it leaves the VG. Nobody may use the volumes meanwhile.
 * LVM keeps in its metadata how far a move has come, so the same call goes on with one that was cut off; until it
 * has ended nothing else changes. The device is empty afterwards, for others to take.
 */
export async function removeDevice(
  storageDomain: BlockStorageDomain,
  device: string,
  signal: AbortSignal
): Promise<void> {
  const { group, leases } = storageDomain
  const { vg } = group
  await using manager = await leases.asManager(signal)
  void manager

  const member = await memberOn(group, device)
  if (member !== null) {
    throwIfObstacle(await group.read(), member, group.activator.hasDriver)
    const { reading, isMoving } = await group.read()
    if (isMoving || extentsOn(reading.group, member) > 0) {
      await idempotent('storage-domain.remove-device.block/move', () =>
        group.change({ kind: 'movePv', from: device, to: [] }, signal)
      )
    }
    await crashpoint('storage-domain.remove-device.block/vg')
    await group.change({ kind: 'reduceVg', vg, pvs: [device] }, signal)
  }
  await idempotent('storage-domain.remove-device.block/mapping', () => forgetDevices(storageDomain))
  await idempotent('storage-domain.remove-device.block/label', () =>
    removeLabel(storageDomain, device, signal)
  )
  const rest = group.devices.filter(name => name !== device)
  if (rest.length < group.devices.length) await group.useDevices(rest)
  await crashpoint('storage-domain.remove-device.block/done')
}

/** Physical volumes that the metadata names and the VG has not; what was done, in words. */
export async function forgetDevices({ identity, group }: BlockStorageDomain): Promise<string[]> {
  const { pvs } = await identity.metadata()
  const { reading } = await group.read()
  const known = new Set(reading.group.pvs.map(({ uuid }) => uuid))
  const gone = [...pvs].filter(([, { uuid }]) => !known.has(uuid))
  if (gone.length === 0) return []
  const left = new Map([...pvs].filter(([, { uuid }]) => known.has(uuid)))
  await identity.change({ pvs: left }, 'storage-domain.remove-device.block/mapping')
  return gone.map(([, { device }]) => `device ${device}: no longer named in the metadata`)
}

/** Only a label that belongs to no VG is taken away. */
async function removeLabel({ group }: BlockStorageDomain, device: string, signal: AbortSignal) {
  const label = await groupOn(await realDevice(device))
  if (label === null) return
  if (label.vg !== null && label.vg !== group.vg) {
    throw new Fault('ALREADY_EXISTS', `the device ${device} holds VG ${label.vg}`)
  }
  await group.changeUnchecked({ kind: 'removePvs', pvs: [device] }, signal)
}
