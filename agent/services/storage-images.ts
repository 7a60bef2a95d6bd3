import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { clientStream, unary } from '../../common/rpc.js'
import { type Bytes, GiB } from '../../common/units.js'
import type { CopyTarget } from '../../storage/copy-image.js'
import type { CreateVolume } from '../../storage/create-volume.js'
import type { SourceFile } from '../../storage/import-image.js'
import { isUuid } from '../../common/ids.js'
import { page, pageOf } from '../pages.js'
import { taskMessage } from '../task-message.js'
import type { StorageVerbs } from './storage.js'
import {
  allocationOf,
  capacityOf,
  descriptionOf,
  formatOf,
  imageFormatName,
  imageFormatOf,
  sha256Rule
} from './storage-fields.js'
import { volumeMessage } from './storage-messages.js'
import { aloneInImage, commandOf, volumeLock } from './storage-tasks.js'

const kind = (method: string) => `StorageService.${method}`
const mostUpload = GiB(64 * 1024)

export function imageHandlers(verbs: StorageVerbs) {
  return { ...volumeHandlers(verbs), ...listHandlers(verbs), ...dataHandlers(verbs), ...fileHandlers(verbs) }
}

function volumeHandlers({ storage, tasks }: StorageVerbs) {
  return {
    createVolume: unary({
      check: newVolumeOf,
      method: async ({ stamp, storageDomainId: id, volume }) => {
        const parent = volume.parent === null ? [] : volumeLock(id, volume.parent.volumeId, 'shared')
        const task = await tasks.run({
          ...{ stamp, kind: kind('CreateVolume'), content: { id, volume } },
          objects: { storageDomain: id, image: volume.imageId, volume: volume.volumeId },
          locks: [...aloneInImage(id, volume.imageId), ...parent],
          work: async ({ signal }) => {
            const { capacity } = await storage.askActive(id, 'createVolume', volume, signal)
            return { capacity: String(capacity) }
          }
        })
        return taskMessage(task)
      }
    }),
    removeImage: unary({
      check: fields => ({ ...commandOf(fields), imageId: fields.uuid('imageId'), wipe: fields.bool('wipe') }),
      method: async ({ stamp, storageDomainId: id, ...request }) => {
        const task = await tasks.run({
          ...{ stamp, kind: kind('RemoveImage'), content: { id, ...request } },
          objects: { storageDomain: id, image: request.imageId },
          locks: aloneInImage(id, request.imageId),
          work: async ({ signal }) => (await storage.askActive(id, 'removeImage', request, signal), {})
        })
        return taskMessage(task)
      }
    }),
    shareVolume: unary({
      check: placeOf,
      method: async ({ stamp, storageDomainId: id, ...place }) => {
        const task = await tasks.run({
          ...{ stamp, kind: kind('ShareVolume'), content: { id, ...place } },
          objects: { storageDomain: id, image: place.imageId, volume: place.volumeId },
          locks: [...aloneInImage(id, place.imageId), ...volumeLock(id, place.volumeId, 'exclusive')],
          work: async ({ signal }) => (await storage.askActive(id, 'shareVolume', place, signal), {})
        })
        return taskMessage(task)
      }
    }),
    resizeVolume: unary({
      check: fields => ({ ...placeOf(fields), capacity: capacityOf(fields) }),
      method: async ({ stamp, storageDomainId: id, ...request }) => {
        const task = await tasks.run({
          ...{ stamp, kind: kind('ResizeVolume'), content: { id, ...request } },
          objects: { storageDomain: id, image: request.imageId, volume: request.volumeId },
          locks: [...aloneInImage(id, request.imageId), ...volumeLock(id, request.volumeId, 'exclusive')],
          work: async ({ signal }) => {
            const { capacity } = await storage.askActive(id, 'resizeVolume', request, signal)
            return { capacity: String(capacity) }
          }
        })
        return taskMessage(task)
      }
    })
  }
}

function listHandlers({ storage }: StorageVerbs) {
  return {
    listVolumes: unary({
      check: fields => ({
        id: fields.uuid('storageDomainId'),
        imageId: fields.optionalUuid('imageId'),
        wanted: pageOf(fields)
      }),
      method: async ({ id, imageId, wanted }, { signal }) => {
        const all = await storage.ask(id, 'listVolumes', { imageId }, signal)
        const { items, nextPageToken } = page(
          all,
          ({ imageId: image, volumeId }) => `${image}:${volumeId}`,
          wanted
        )
        return { volumes: items.map(volumeMessage), nextPageToken }
      }
    })
  }
}

function dataHandlers({ images, tasks }: StorageVerbs) {
  return {
    copyImage: unary({
      check: copyOf,
      method: async ({ stamp, ...request }) => {
        const { sourceStorageDomainId: from, source, storageDomainId: id, target } = request
        const task = await tasks.run({
          ...{ stamp, kind: kind('CopyImage'), content: request },
          objects: { storageDomain: id, image: target.imageId, volume: target.volumeId },
          locks: [
            ...aloneInImage(id, target.imageId),
            ...(from === id ? [] : [{ level: 'storageDomain' as const, id: from, mode: 'shared' as const }]),
            { level: 'image', id: `${from}/${source.imageId}`, mode: 'shared' }
          ],
          work: run => images.copy(stamp.requestId, request, run)
        })
        return taskMessage(task)
      }
    }),
    mergeVolumes: unary({
      check: fields => ({
        ...commandOf(fields),
        imageId: fields.uuid('imageId'),
        topId: fields.uuid('topVolumeId'),
        baseId: fields.uuid('baseVolumeId')
      }),
      method: async ({ stamp, ...request }) => {
        const { storageDomainId: id, imageId, topId, baseId } = request
        if (topId === baseId) throw wrong('base_volume_id', 'must be another volume than top_volume_id')
        const task = await tasks.run({
          ...{ stamp, kind: kind('MergeVolumes'), content: request },
          objects: { storageDomain: id, image: imageId, volume: topId, base: baseId },
          locks: [
            ...aloneInImage(id, imageId),
            ...volumeLock(id, topId, 'exclusive'),
            ...volumeLock(id, baseId, 'exclusive')
          ],
          work: run => images.merge(stamp.requestId, request, run)
        })
        return taskMessage(task)
      }
    })
  }
}

function fileHandlers({ storage, images, tasks }: StorageVerbs) {
  return {
    importImage: unary({
      check: fields => ({
        ...commandOf(fields),
        source: sourceOf(fields),
        declared: imageFormatOf(fields, 'sourceFormat'),
        sha256: fields.optional('sha256', sha256Rule, ''),
        target: targetOf(fields)
      }),
      method: async ({ stamp, ...request }) => {
        const { storageDomainId: id, target } = request
        const task = await tasks.run({
          ...{ stamp, kind: kind('ImportImage'), content: request },
          objects: { storageDomain: id, image: target.imageId, volume: target.volumeId },
          locks: aloneInImage(id, target.imageId),
          work: run => images.import(stamp.requestId, request, run)
        })
        return taskMessage(task)
      }
    }),
    inspectImage: unary({
      check: fields => ({
        id: fields.optionalUuid('storageDomainId'),
        source: sourceOf(fields),
        declared:
          fields.has('declaredFormat') && !isUnspecified(fields)
            ? imageFormatOf(fields, 'declaredFormat')
            : null
      }),
      method: async ({ id, source, declared }, { signal }) => {
        const inspector = id ?? storage.states()[0]?.storageDomainId
        if (inspector === undefined)
          throw new Fault('WRONG_STATE', 'no storage domain is connected to inspect with')
        const found = await storage.ask(inspector, 'inspect', { source, declared }, signal)
        const { format, virtualSize, problems } = found
        return { format: imageFormatName(format), virtualSize: String(virtualSize), problems }
      }
    }),
    uploadImage: clientStream({
      check: uploadPartOf,
      method: async (parts, { signal }) => {
        const iterator = parts[Symbol.asyncIterator]()
        const first = await iterator.next()
        if (first.done || first.value.kind !== 'open') throw wrong('open', 'must be the first message')
        const { kind: _, ...upload } = first.value
        const { size, sha256 } = await images.upload(upload, dataOnly(iterator), signal)
        return { size: String(size), sha256 }
      }
    })
  }
}

type UploadOpen = { uploadId: string; storageDomainId: string; size: Bytes }
type UploadPart = ({ kind: 'open' } & UploadOpen) | { kind: 'data'; data: Buffer }

function uploadPartOf(fields: Fields): UploadPart {
  const part = fields.oneof<UploadPart>('message', {
    open: member => member.message<UploadPart>('open', open => ({ kind: 'open', ...uploadOf(open) })),
    data: member => ({ kind: 'data', data: member.bytes('data', 128 * 1024, 1) })
  })
  return part ?? { kind: 'data', data: Buffer.alloc(0) }
}

const uploadOf = (fields: Fields): UploadOpen => ({
  uploadId: fields.uuid('uploadId'),
  storageDomainId: fields.uuid('storageDomainId'),
  size: fields.size('size', mostUpload)
})

async function* dataOnly(parts: AsyncIterator<UploadPart>): AsyncGenerator<Buffer> {
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    if (next.value.kind === 'open') throw wrong('open', 'must be the first message only')
    yield next.value.data
  }
}

function newVolumeOf(fields: Fields) {
  const imageId = fields.uuid('imageId')
  const parentId = fields.optionalUuid('parentId')
  const parentImageId = fields.optionalUuid('parentImageId') ?? imageId
  const format = formatOf(fields)
  if (parentId !== null && format !== 'qcow2') fields.refuse('format', 'must be QCOW2 with a parent', null)
  const volume: CreateVolume = {
    imageId,
    volumeId: fields.uuid('volumeId'),
    parent: parentId === null ? null : { imageId: parentImageId, volumeId: parentId },
    capacity: capacityOf(fields),
    format,
    allocation: allocationOf(fields),
    diskContent: 'DATA',
    description: descriptionOf(fields),
    legal: true
  }
  if (volume.volumeId === parentId) fields.refuse('parentId', 'must be another volume than volume_id', null)
  return { ...commandOf(fields), volume }
}

const placeOf = (fields: Fields) => ({
  ...commandOf(fields),
  imageId: fields.uuid('imageId'),
  volumeId: fields.uuid('volumeId')
})

function targetOf(fields: Fields): CopyTarget {
  return {
    imageId: fields.uuid('imageId'),
    volumeId: fields.uuid('volumeId'),
    format: formatOf(fields),
    allocation: allocationOf(fields),
    shared: fields.bool('shared'),
    description: descriptionOf(fields)
  }
}

function copyOf(fields: Fields) {
  const source = { imageId: fields.uuid('sourceImageId'), volumeId: fields.uuid('sourceVolumeId') }
  const sourceStorageDomainId = fields.uuid('sourceStorageDomainId')
  const request = { ...commandOf(fields), sourceStorageDomainId, source, target: targetOf(fields) }
  if (sourceStorageDomainId === request.storageDomainId && source.imageId === request.target.imageId) {
    fields.refuse('imageId', 'must be another image than source_image_id', null)
  }
  return request
}

/** An upload by its id, or a file by its path. */
function sourceOf(fields: Fields): SourceFile {
  const id = fields.is('source', value => ({ value: typeof value === 'string' ? value : '' }), '')
  if (isUuid(id)) return { kind: 'upload', uploadId: id }
  return { kind: 'path', path: fields.absolutePath('source') }
}

function isUnspecified(fields: Fields): boolean {
  return fields.is(
    'declaredFormat',
    value => ({ value: value === 'DISK_FORMAT_UNSPECIFIED' || value === 0 }),
    true
  )
}

function wrong(field: string, description: string): Fault {
  return new Fault('INVALID_REQUEST', `${field} ${description}`, { violations: [{ field, description }] })
}
