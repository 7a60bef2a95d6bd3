import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { clientStream, unary, type Context } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { bytes, type Bytes } from '../../common/units.js'
import type { DiskServiceDefinition } from '../../proto/generated/types/drover/v1/DiskService.js'
import { storageHost } from '../jobs/placement.js'
import { numberOf } from '../jobs/storage-host.js'
import type { NewVolume } from '../jobs/volumes.js'
import type { Claim } from '../store/claims.js'
import { childrenOf, disk as diskOf, diskFrom, updateDisk, volumesOf, type Disk } from '../store/disks.js'
import { throwIfStaleEtag } from '../store/etag.js'
import { host } from '../store/hosts.js'
import { job } from '../store/jobs.js'
import { resolveId } from '../store/names.js'
import { sql, type Reader, type Tx } from '../store/query.js'
import { snapshotsOf } from '../store/snapshots.js'
import { vmsOfDisk } from '../store/vms.js'
import { measured, splitUpload, type ImportOpening } from '../upload-relay.js'
import { readEtag } from './cluster-fields.js'
import { insertNewDisk } from './create-vm.js'
import {
  largestDisk,
  readAllocation,
  readCapacity,
  readFormat,
  readImportFormat,
  readSha256,
  readVolumeKind
} from './disk-fields.js'
import type { Lists, ListSpec } from './list.js'
import { diskMessage, jobMessage } from './messages.js'
import { chargeDisks, enlistDisk } from './quota-check.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import type { ThinOf } from './thin-disks.js'
import { changeShareable, onUsers, readShareable } from './shared-disks.js'
import { roomyDomain } from './vm-checks.js'
import type { Who } from './vm-orders.js'

/** Sends an upload to a host, which keeps it in the storage domain until it is imported. */
export type SendUpload = (
  hostId: string,
  upload: { uploadId: string; storageDomainId: string; size: Bytes },
  chunks: AsyncIterable<Buffer>,
  signal: AbortSignal
) => Promise<{ size: number; sha256: string }>

const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    status: { column: 'status', kind: 'enum', values: ['creating', 'ok', 'illegal', 'removing'] },
    content: { column: 'content', kind: 'enum', values: ['data', 'iso'] },
    storage_domain_id: { column: 'storageDomainId', kind: 'id' },
    vm_id: { column: 'vmId', kind: 'id' },
    template_id: { column: 'templateId', kind: 'id' }
  },
  orders: { name: 'name', capacity: 'capacity', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}

const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })

export function diskService(
  workshop: Workshop,
  lists: Lists,
  sendUpload: SendUpload,
  thinOf: ThinOf
): Handlers<DiskServiceDefinition> {
  const { mutations, jobs } = workshop
  const { store, clock } = mutations
  const message = (id: string) => diskMessage(diskOf(store.read, id))

  return {
    createDisk: unary({
      check: fields =>
        asked(
          fields,
          fields.message('disk', it => {
            const kind = readVolumeKind(it)
            return {
              ...{ id: it.optionalUuid('diskId'), name: it.name('name'), ...kind },
              ...{ storageDomainId: it.uuid('storageDomainId'), capacity: readCapacity(it) },
              isShareable: readShareable(it, kind)
            }
          })
        ),
      method: async (request, context) =>
        orderedJob(workshop, 'CreateDisk', request, context, (tx, who) => {
          const { id, name, isShareable, ...wanted } = request.content
          const diskId = id ?? clock.newId()
          throwIfDiskExists(tx, diskId)
          const volume = newVolume(clock.newId, diskId, name, wanted)
          const jobId = orderDisk(workshop, tx, 'disk.create', name, volume, [], who)
          if (isShareable) updateDisk(tx, diskId, { isShareable: 1 })
          return jobId
        })
    }),
    getDisk: unary({
      check: fields => fields.idOrName('diskId'),
      method: async (name, { signal }) => {
        const found = diskOf(store.read, resolveId(store.read, 'disk', name))
        const vmIds = vmsOfDisk(store.read, found.id).map(({ id }) => id)
        return { ...diskMessage(found), vmIds, thin: await thinOf(found, signal) }
      }
    }),
    listDisks: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('diskView').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { disks: rows.map(row => diskMessage(diskFrom(row))), nextPageToken }
      }
    }),
    updateDisk: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', ['name', 'shareable'])
        const content = fields.message('disk', it => ({
          ...{ id: it.uuid('diskId'), etag: readEtag(it) },
          ...(mask.has('name') && { name: it.name('name') }),
          ...(mask.has('shareable') && { isShareable: it.bool('shareable') })
        }))
        return asked(fields, content)
      },
      method: async (request, context) => {
        const { id, etag, name, isShareable } = request.content
        mutations.perform('UpdateDisk', request, context, tx => {
          const before = diskOf(tx, id)
          throwIfStaleEtag(etag, before, `disk ${before.name}`)
          if (isShareable !== undefined) changeShareable(tx, before, isShareable)
          if (name !== undefined) updateDisk(tx, id, { name })
          return {}
        })
        return message(id)
      }
    }),
    resizeDisk: unary({
      check: fields => asked(fields, { diskId: fields.uuid('diskId'), capacity: readCapacity(fields) }),
      method: async (request, context) =>
        orderedJob(workshop, 'ResizeDisk', request, context, (tx, who) => {
          const { diskId, capacity } = request.content
          const disk = idleDisk(tx, diskId, 'be resized')
          if (capacity < disk.capacity) {
            throw new Fault(
              'INVALID_REQUEST',
              `disk ${disk.name} has ${disk.capacity} bytes, and never shrinks`,
              {
                violations: [{ field: 'capacity', description: `must be at least ${disk.capacity}` }]
              }
            )
          }
          const { storageDomainId, volumeId } = disk
          roomyDomain(tx, storageDomainId)
          const jobId = jobs.create(tx, 'disk.resize', {
            context: { hostId: null, diskId, storageDomainId, volumeId, capacity },
            objects: { disk: diskId },
            claims: [onDisk(diskId, 'change'), ...onUsers(tx, diskId)],
            ...who
          })
          chargeDisks(tx, [diskId], who.actor, clock.wall())
          return jobId
        })
    }),
    copyDisk: unary({
      check: fields =>
        asked(fields, {
          ...{ diskId: fields.uuid('diskId'), name: fields.name('name') },
          ...{ storageDomainId: fields.optionalUuid('storageDomainId'), ...readVolumeKind(fields) }
        }),
      method: async (request, context) =>
        orderedJob(workshop, 'CopyDisk', request, context, (tx, who) => {
          const { diskId, name, storageDomainId, ...kind } = request.content
          const from = idleDisk(tx, diskId, 'be copied')
          const wanted = {
            ...{ ...kind, storageDomainId: storageDomainId ?? from.storageDomainId },
            capacity: bytes(from.capacity)
          }
          const volume: NewVolume = {
            ...newVolume(clock.newId, clock.newId(), name, wanted),
            source: {
              ...{ kind: 'copy', storageDomainId: from.storageDomainId },
              ...{ imageId: from.id, volumeId: from.volumeId }
            }
          }
          const claims = [onDisk(diskId, 'copy'), ...onUsers(tx, diskId), onDomain(from.storageDomainId)]
          return orderDisk(workshop, tx, 'disk.copy', name, volume, claims, who)
        })
    }),
    deleteDisk: unary({
      check: fields => asked(fields, { diskId: fields.uuid('diskId'), isWiped: fields.bool('wipe') }),
      method: async (request, context) =>
        orderedJob(workshop, 'DeleteDisk', request, context, (tx, who) => {
          const { diskId, isWiped } = request.content
          const { storageDomainId } = deletableDisk(tx, diskId)
          return jobs.create(tx, 'disk.delete', {
            context: { hostId: null, diskId, storageDomainId, isWiped },
            objects: { disk: diskId },
            claims: [onDisk(diskId, 'remove')],
            ...who
          })
        })
    }),
    importDisk: clientStream({
      check: readImportMessage,
      method: async (messages, context) => importDisk(workshop, sendUpload, messages, context)
    })
  }
}

type WantedKind = Pick<NewVolume, 'storageDomainId' | 'capacity' | 'format' | 'allocation'>

const newVolume = (newId: () => string, diskId: string, name: string, wanted: WantedKind): NewVolume => ({
  ...wanted,
  ...{ diskId, volumeId: newId(), description: name.slice(0, 50), isTemplate: false },
  source: { kind: 'blank' }
})

function orderDisk(
  { jobs, mutations: { clock } }: Workshop,
  tx: Tx,
  kind: 'disk.create' | 'disk.copy',
  name: string,
  volume: NewVolume,
  claims: Claim[],
  who: Who
): string {
  const { diskId, storageDomainId } = volume
  roomyDomain(tx, storageDomainId)
  insertNewDisk(tx, name, volume, clock.wall())
  enlistDisk(tx, diskId, who.actor, clock.wall())
  return jobs.create(tx, kind, {
    context: { hostId: null, volume },
    objects: { disk: diskId, storageDomain: storageDomainId },
    claims: [...unlessClaimed(claims, onDomain(storageDomainId)), onDisk(diskId, 'change')],
    ...who
  })
}

const unlessClaimed = (claims: Claim[], { type, id, mode }: Claim): Claim[] =>
  claims.some(claim => claim.type === type && claim.id === id) ? claims : [...claims, { type, id, mode }]

const onDisk = (id: string, mode: Claim['mode']): Claim => ({ type: 'disk', id, mode })
const onDomain = (id: string): Claim => ({ type: 'storageDomain', id, mode: 'read' })

function throwIfDiskExists(reader: Reader, id: string): void {
  if (reader.first(sql.selectFrom('disk').select('id').where('id', '=', id))) {
    throw new Fault('ALREADY_EXISTS', `a disk with the id ${id} exists`, { facts: { disk: id } })
  }
}

/** A disk that is whole and that no running VM uses. */
function idleDisk(reader: Reader, id: string, what: string): Disk {
  const disk = diskOf(reader, id)
  if (disk.status !== 'ok') throw new Fault('WRONG_STATE', `disk ${disk.name} is ${disk.status}`)
  if (what === 'be resized' && disk.templateId !== '') {
    throw new Fault('WRONG_STATE', `disk ${disk.name} belongs to a template and never changes`)
  }
  const vm = vmsOfDisk(reader, id).find(({ status }) => status !== 'down')
  // Who runs with an ISO image reads it only.
  if (vm && !(disk.content === 'iso' && what === 'be copied')) {
    throw new Fault('WRONG_STATE', `VM ${vm.name} is ${vm.status}; it must be down for its disk to ${what}`, {
      facts: { vm: vm.id }
    })
  }
  return disk
}

/** A disk that nothing depends on; one whose making or removing failed half-way too. */
function deletableDisk(reader: Reader, id: string): Disk {
  const disk = diskOf(reader, id)
  if (disk.templateId !== '') throw new Fault('WRONG_STATE', `disk ${disk.name} belongs to a template`)
  const [vm] = vmsOfDisk(reader, id)
  if (vm && disk.content === 'iso') {
    throw new Fault('WRONG_STATE', `ISO image ${disk.name} is in a drive of VM ${vm.name}: eject it first`, {
      facts: { vm: vm.id }
    })
  }
  if (vm) {
    const snapshots = snapshotsOf(reader, vm.id).length > 0 ? ' and its snapshots' : ''
    throw new Fault(
      'WRONG_STATE',
      `disk ${disk.name} is attached to VM ${vm.name}${snapshots}: detach it first`,
      {
        facts: { vm: vm.id }
      }
    )
  }
  const own = new Set(volumesOf(reader, id).map(volume => volume.id))
  const child = [...own].flatMap(volume => childrenOf(reader, volume)).find(volume => !own.has(volume.id))
  if (child) {
    throw new Fault('WRONG_STATE', `disk ${child.diskId} is built on disk ${disk.name}`, {
      facts: { disk: child.diskId }
    })
  }
  return disk
}

type Opening = ReturnType<typeof readOpening>

function readImportMessage(fields: Fields): ImportOpening<Opening> {
  const nothing: ImportOpening<Opening> = { data: Buffer.alloc(0) }
  return (
    fields.oneof<ImportOpening<Opening>>('message', {
      open: it => ({ open: it.message('open', readOpening) }),
      data: it => ({ data: it.bytes('data', 128 * 1024) })
    }) ?? nothing
  )
}

function readOpening(fields: Fields) {
  const sourceFormat = readImportFormat(fields)
  const hostPath = fields.has('hostPath') ? fields.absolutePath('hostPath') : ''
  const hostId = fields.optionalUuid('hostId')
  const size = fields.optionalSize('size', largestDisk) ?? bytes(0)
  if (hostPath === '' && size === 0) fields.refuse('size', 'must be given for an upload', null)
  if (hostPath !== '' && size !== 0) fields.refuse('size', 'must be 0 for a file of a host', null)
  if (hostPath !== '' && hostId === null) fields.refuse('hostId', 'must name the host of host_path', null)
  const format = sourceFormat === 'iso' ? ('raw' as const) : readFormat(fields)
  return {
    ...{ requestId: fields.uuid('requestId'), name: fields.name('name') },
    ...{ storageDomainId: fields.uuid('storageDomainId'), sourceFormat, format },
    ...{ allocation: readAllocation(fields), size, sha256: readSha256(fields), hostPath, hostId }
  }
}

/** Receives the upload whole, on its way to the host that keeps it; then the import is a job like any other. */
async function importDisk(
  workshop: Workshop,
  sendUpload: SendUpload,
  messages: AsyncIterable<ImportOpening<Opening>>,
  context: Context
) {
  const { mutations, jobs } = workshop
  const { store, clock } = mutations
  const { opening, chunks } = await splitUpload(messages)
  const { requestId, ...content } = opening
  const asked = { requestId, content }
  const known = mutations.earlier('ImportDisk', asked, context) as { jobId: string } | null
  if (known) return jobMessage(store.read, job(store.read, known.jobId))

  const { storageDomainId, hostPath, size, sha256 } = opening
  roomyDomain(store.read, storageDomainId)
  const hostId = opening.hostId ?? storageHost(store.read, [storageDomainId], numberOf(requestId))
  const { status, name: hostName } = host(store.read, hostId)
  if (status !== 'up') throw new Fault('WRONG_STATE', `host ${hostName} is ${status}; it must be up`)
  if (hostPath === '') {
    const upload = { uploadId: requestId, storageDomainId, size }
    const counted = measured(chunks, { size, sha256 }, () => {})
    await sendUpload(hostId, upload, counted, context.signal)
  }
  return orderedJob(workshop, 'ImportDisk', asked, context, (tx, who) => {
    const { name, sourceFormat, format, allocation } = opening
    roomyDomain(tx, storageDomainId)
    const wanted = { storageDomainId, capacity: bytes(2 ** 20), format, allocation }
    const volume = newVolume(clock.newId, clock.newId(), name, wanted)
    const { diskId, volumeId, description } = volume
    insertNewDisk(tx, name, volume, clock.wall(), sourceFormat === 'iso' ? 'iso' : 'data')
    enlistDisk(tx, diskId, who.actor, clock.wall())
    return jobs.create(tx, 'disk.import', {
      context: {
        ...{ diskId, volumeId, storageDomainId, hostId, source: hostPath || requestId, sourceFormat },
        ...{ format, allocation, sha256, description, capacity: 0 }
      },
      objects: { disk: diskId, storageDomain: storageDomainId },
      claims: [onDisk(diskId, 'change'), onDomain(storageDomainId)],
      ...who
    })
  })
}
