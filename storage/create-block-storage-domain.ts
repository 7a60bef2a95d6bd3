import { basename } from 'node:path'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { bytes, GiB, MiB, type Seconds } from '../common/units.js'
import { BlockGroup, type Group, realDevice } from './block-group.js'
import { pairsOf, specialInUse } from './block-storage-domain.js'
import { writeDirect } from './direct-io.js'
import { removeGroup } from './erase-block-storage-domain.js'
import { ioTimeoutIn, type Tools } from './file-storage-domain.js'
import { metadataTagChange, readyTag, unreadyTag, vgState } from './format/block-tags.js'
import { managerLease, managerLeaseOffset, specialVolumes } from './format/leases-layout.js'
import {
  parseStorageDomainMetadata,
  type PvMapping,
  storageDomainPairs,
  type StorageDomainMetadata,
  type StorageKind
} from './format/storage-domain-metadata.js'
import { mebibytes } from './format/volume-sizes.js'
import { formatWrites } from './format/xleases.js'
import { groupOn } from './lvm-reader.js'
import type { Geometry } from './storage-domain.js'

export type CreateBlockStorageDomain = {
  storageDomainId: string
  /** Block devices under stable names; the first will hold LVM's metadata. */
  devices: string[]
  kind: Extract<StorageKind, 'iscsi' | 'fcp'>
  description: string
  dataCenterId: string | null
  ioTimeout: Seconds
}

export const mostPvs = 8
const smallestGroup = GiB(10)
const geometry: Geometry = { sectorSize: 512, alignment: MiB(1) }

/**
 * Everything is made in a VG that says it is not ready; one change of its tags writes the metadata and makes it a
 * storage domain. What a crash left before is removed and made again by the same request.
 */
export async function createBlockStorageDomain(
  request: CreateBlockStorageDomain,
  tools: Tools,
  signal: AbortSignal
): Promise<StorageDomainMetadata> {
  const { storageDomainId: vg, devices } = request
  throwIfCount(devices)
  const group = await BlockGroup.on(vg, devices, tools.runDirectory, tools)
  const known = alreadyThere(request, await group.find())
  if (known !== null) return known
  for (const device of devices) await throwIfTaken(device, vg, tools.run, signal)

  if ((await group.find()) !== null) await removeGroup(group, signal)
  await makeGroup(group, request, signal)
  await makeSpecialVolumes(group, signal)
  await idempotent('storage-domain.create.block/content', () => writeContent(group, request, tools, signal))
  const metadata = await describe(request, await group.read())
  await idempotent('storage-domain.create.block/publish', () => publish(group, request, metadata, signal))
  await crashpoint('storage-domain.create.block/done')
  await group.activator.deactivate(await group.activator.active(), signal)
  tools.log.info({ storageDomain: vg, devices }, 'block storage domain created')
  return metadata
}

function throwIfCount(devices: readonly string[]): void {
  if (devices.length >= 1 && devices.length <= mostPvs && new Set(devices).size === devices.length) return
  const description = `must be 1 to ${mostPvs} different devices`
  throw new Fault('INVALID_REQUEST', `devices ${description}`, {
    violations: [{ field: 'connection.block.devices', description }]
  })
}

function alreadyThere(
  { storageDomainId, description, ioTimeout }: CreateBlockStorageDomain,
  group: Group | null
): StorageDomainMetadata | null {
  if (group === null || vgState(group.tags) !== 'ready') return null
  const pairs = pairsOf(storageDomainId, group)
  const metadata = parseStorageDomainMetadata(pairs)
  if (metadata.description === description && ioTimeoutIn(pairs) === ioTimeout) return metadata
  throw new Fault('ALREADY_EXISTS', `storage domain ${storageDomainId} exists with other properties`)
}

/** Nothing that is on a device is ever overwritten, but the rest of an attempt at this very storage domain. */
export async function throwIfTaken(
  device: string,
  vg: string,
  run: Run,
  signal: AbortSignal
): Promise<'empty' | 'physicalVolume'> {
  const path = await realDevice(device)
  const onIt = await groupOn(path)
  if (onIt !== null && (onIt.vg === null || onIt.vg === vg)) return 'physicalVolume'
  const { stdout } = await run('wipefs', ['--no-act', '--noheadings', '--output', 'TYPE', path], signal)
  const types = [...new Set(stdout.split('\n').map(type => type.trim()))].filter(type => type !== '')
  if (types.length === 0) return 'empty'
  const what = onIt?.vg ? `VG ${onIt.vg}` : types.join(', ')
  throw new Fault('ALREADY_EXISTS', `the device ${device} already holds ${what}`, {
    facts: { device, holds: what }
  })
}

async function makeGroup(group: BlockGroup, { devices }: CreateBlockStorageDomain, signal: AbortSignal) {
  const { vg } = group
  const [first = ''] = devices
  await idempotent('storage-domain.create.block/pvs', () =>
    group.changeUnchecked({ kind: 'createPvs', pvs: [...devices], force: true }, signal)
  )
  await idempotent('storage-domain.create.block/metadata-pv', () =>
    group.changeUnchecked({ kind: 'chooseMetadataPv', pv: first }, signal)
  )
  await crashpoint('storage-domain.create.block/group')
  await group.changeUnchecked({ kind: 'createVg', vg, pvs: [...devices], tags: [unreadyTag] }, signal)
  const { extents, extentSize, tags, volumes } = await group.read()
  if (extents * extentSize < smallestGroup) {
    await removeGroup(group, signal)
    throw new Fault('INVALID_REQUEST', `a block storage domain takes at least 10 GiB`, {
      violations: [{ field: 'connection.block.devices', description: 'must have 10 GiB together' }]
    })
  }
  if (tags.join() !== unreadyTag || volumes.size > 0) {
    throw new Fault('WRONG_STATE', `the VG ${vg} is not as it was just made`)
  }
}

async function makeSpecialVolumes(group: BlockGroup, signal: AbortSignal): Promise<void> {
  const { vg } = group
  const [first = ''] = group.devices
  for (const { name, size } of specialVolumes(geometry.alignment)) {
    await crashpoint('storage-domain.create.block/special')
    const pv = name === 'metadata' ? first : null
    await group.changeUnchecked(
      { kind: 'createLv', vg, lv: name, mebibytes: mebibytes(size), tags: [], pv },
      signal
    )
  }
  const { group: text } = (await group.read()).reading
  const start = text.volumes.find(({ name }) => name === 'metadata')?.segments[0]?.pvStart
  if (start !== 0)
    throw new Fault('WRONG_STATE', 'the special volume metadata is not at the start of its device')
}

async function writeContent(
  group: BlockGroup,
  { storageDomainId: lockspace, ioTimeout }: CreateBlockStorageDomain,
  { clock, sanlock }: Tools,
  signal: AbortSignal
) {
  await group.activate(specialInUse, signal)
  const path = (name: string) => group.device(name)
  const header = { lockspace, formattedAt: Math.floor(clock.wall() / 1000) }
  for (const { offset, block } of formatWrites(header, geometry.alignment, geometry.sectorSize)) {
    await writeDirect(await path('xleases'), offset, block)
  }
  await crashpoint('storage-domain.create.block/zeroes')
  await writeDirect(await path('metadata'), bytes(0), Buffer.alloc(17 * 2 ** 20))
  for (const name of ['inbox', 'outbox']) {
    await writeDirect(await path(name), bytes(0), Buffer.alloc(1_024_000))
  }
  await crashpoint('storage-domain.create.block/lockspace')
  const ids = { name: lockspace, sanlockHostId: 0, path: await path('ids') }
  await sanlock.writeLockspace(ids, ioTimeout, geometry, signal)
  const sdm = { lockspace, name: managerLease, offset: managerLeaseOffset(geometry.alignment) }
  await sanlock.writeResource({ ...sdm, path: await path('leases') }, geometry, signal)
}

async function describe(request: CreateBlockStorageDomain, group: Group): Promise<StorageDomainMetadata> {
  return {
    ...geometry,
    storageDomainId: request.storageDomainId,
    version: 5,
    kind: request.kind,
    class: 'data',
    description: request.description,
    role: 'regular',
    poolIds: request.dataCenterId === null ? [] : [request.dataCenterId],
    lockPolicy: '',
    remotePath: null,
    vgUuid: group.uuid,
    pvs: await pvMappings(group, request.devices)
  }
}

/** In the order of the devices; the first is the one with the special volume `metadata`. */
export async function pvMappings(
  { reading }: Group,
  devices: readonly string[]
): Promise<Map<number, PvMapping>> {
  const mappings = new Map<number, PvMapping>()
  let offset = 0
  for (const [n, given] of devices.entries()) {
    const real = await realDevice(given)
    const pv = reading.group.pvs.find(({ name }) => reading.devices.get(name) === real)
    if (pv === undefined)
      throw new Fault('WRONG_STATE', `the device ${given} is no physical volume of the VG`)
    mappings.set(n, { device: basename(given), uuid: pv.uuid, start: 0, extents: pv.extents, offset })
    offset += pv.extents
  }
  return mappings
}

async function publish(
  group: BlockGroup,
  { ioTimeout }: CreateBlockStorageDomain,
  metadata: StorageDomainMetadata,
  signal: AbortSignal
): Promise<void> {
  const { tags } = await group.read()
  if (vgState(tags) === 'ready') return
  const pairs = storageDomainPairs(metadata).set('IOOPTIMEOUTSEC', String(ioTimeout))
  const { remove, add } = metadataTagChange(tags, pairs)
  const change = { remove: [...remove, unreadyTag], add: [...add, readyTag] }
  await group.change({ kind: 'changeVgTags', vg: group.vg, ...change }, signal)
}
