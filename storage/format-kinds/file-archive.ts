import { lstat, open, readFile, readdir } from 'node:fs/promises'
import { bytes } from '../../common/units.js'
import { readMetadataFile } from '../format/metadata-pairs.js'
import { normalRemotePath, vdsmMountName } from '../format/remote-path.js'
import { readSanlockRecord } from '../format/sanlock-record.js'
import { parseStorageDomainMetadata } from '../format/storage-domain-metadata.js'
import { withoutPadding } from '../format/text.js'
import { blankId } from '../format/uuid.js'
import { readVolumeText } from '../format/volume-fields.js'
import { XleasesIndex, indexSize } from '../format/xleases.js'
import { fieldsJson } from './domain-kinds.js'
import type { Json, JsonObject } from './json.js'
import { leasesJson } from './xleases-kinds.js'

// A whole file storage domain, read from its directory. Nothing is written and no lease is taken: this is for
// looking at a copy, or at a storage domain that nobody uses.

type Entry = {
  path: string
  type: 'dir' | 'file' | 'other'
  mode: string
  size: number
  nlink: number
  inode: bigint
  used: number
}

const removedPrefix = '_remove_me_'

/** What is in `<mount>/<storage domain>`. */
export async function readFileStorageDomain(directory: string): Promise<JsonObject> {
  const pairs = readMetadataFile(await readFile(`${directory}/dom_md/metadata`))
  const metadata = parseStorageDomainMetadata(pairs)
  const entries = await walk(directory)
  const volumes = await readVolumes(directory, entries)
  return {
    domain: metadata.storageDomainId,
    pool: metadata.poolIds[0] ?? null,
    remotePath: metadata.remotePath,
    mountDirName: metadata.remotePath === null ? null : vdsmMountName(normalRemotePath(metadata.remotePath)),
    fields: fieldsJson(pairs, 'file'),
    tree: treeJson(entries),
    allVolumes: allVolumesJson(volumes),
    chains: chainsJson(volumes),
    children: childrenJson(volumes),
    volumesDump: Object.fromEntries(ownVolumes(volumes).map(volume => [volume.volumeId, dumpJson(volume)])),
    domainInfo: domainInfoJson(fieldsJson(pairs, 'file'), pairs),
    externalLeases: await externalLeases(directory, metadata.alignment, metadata.sectorSize),
    leases: await resourcesJson(directory, entries, metadata.alignment),
    metadataFiles: await metadataFiles(directory, entries)
  }
}

async function walk(root: string, below = ''): Promise<Entry[]> {
  const names = (await readdir(`${root}/${below}`)).toSorted()
  const entries: Entry[] = []
  for (const name of names) {
    const path = below === '' ? name : `${below}/${name}`
    const status = await lstat(`${root}/${path}`, { bigint: true })
    const type = status.isDirectory() ? 'dir' : status.isFile() ? 'file' : 'other'
    entries.push({
      path,
      type,
      mode: (Number(status.mode) & 0o7777).toString(8).padStart(4, '0'),
      size: Number(status.size),
      nlink: Number(status.nlink),
      inode: status.ino,
      used: Number(status.blocks) * 512
    })
    if (type === 'dir') entries.push(...(await walk(root, path)))
  }
  return entries
}

/** In the order of the whole paths, directories without their size. */
function treeJson(entries: Entry[]): Json[] {
  const linked = entries.filter(entry => entry.type === 'file' && entry.nlink > 1)
  const groups = [...new Set(linked.map(entry => entry.inode))]
  return entries.map(({ path, mode, type, size, nlink, inode }) => {
    if (type !== 'file') return { path, mode, type }
    const group = groups.indexOf(inode)
    return { path, mode, type, size, nlink, ...(group < 0 ? {} : { linkGroup: group + 1 }) }
  })
}

type FoundVolume = {
  volumeId: string
  /** The directory below images, with its mark if the image was deleted. */
  directory: string
  images: string[]
  fields: JsonObject
  status: 'OK' | 'INVALID' | 'REMOVED'
  size: number
  used: number
}

async function readVolumes(root: string, entries: Entry[]): Promise<FoundVolume[]> {
  const volumes: FoundVolume[] = []
  for (const entry of entries) {
    const match = /^images\/([^/]+)\/([0-9a-f-]{36})\.meta$/.exec(entry.path)
    if (match === null) continue
    const [, directory = '', volumeId = ''] = match
    const { fields, errors } = readVolumeText(await readFile(`${root}/${entry.path}`))
    const { domain: _domain, ...shown } = fields
    const data = entries.find(({ path }) => path === `images/${directory}/${volumeId}`)
    const isRemoved = directory.startsWith(removedPrefix)
    volumes.push({
      volumeId,
      directory,
      images: [],
      fields: shown,
      status: isRemoved ? 'REMOVED' : errors.length > 0 ? 'INVALID' : 'OK',
      size: data?.size ?? 0,
      used: data?.used ?? 0
    })
  }
  for (const volume of volumes) {
    volume.images = volumes.filter(other => other.volumeId === volume.volumeId).map(other => other.directory)
  }
  return volumes
}

const isTemplate = (volume: FoundVolume): boolean => volume.images.length > 1

/** A template's volume is linked into the images made from it; its own image is the one that it names. */
function ownVolumes(volumes: FoundVolume[]): FoundVolume[] {
  return volumes.filter(volume => !isTemplate(volume) || volume.directory === volume.fields['image'])
}

function allVolumesJson(volumes: FoundVolume[]): JsonObject {
  return Object.fromEntries(
    ownVolumes(volumes).map((volume): [string, Json] => {
      const derived = volume.images.filter(image => image !== volume.directory)
      const imgs = isTemplate(volume) ? [volume.directory, ...derived] : [volume.directory]
      return [volume.volumeId, { imgs, parent: isTemplate(volume) ? blankId : null }]
    })
  )
}

/** Base first, as VDSM lists them; the template is not part of a derived image's chain. */
function chainsJson(volumes: FoundVolume[]): JsonObject {
  const own = ownVolumes(volumes).filter(volume => volume.status !== 'REMOVED')
  const images = [...new Set(own.map(volume => volume.directory))]
  return Object.fromEntries(images.map(image => [image, chainOf(image, own)]))
}

function chainOf(image: string, volumes: FoundVolume[]): string[] {
  const members = volumes.filter(volume => volume.directory === image)
  const parents = new Set(members.map(volume => volume.fields['parent']))
  const chain: string[] = []
  let current = members.find(volume => !parents.has(volume.volumeId))
  while (current !== undefined && !chain.includes(current.volumeId)) {
    chain.unshift(current.volumeId)
    const parent = current.fields['parent']
    current = members.find(volume => volume.volumeId === parent)
  }
  return chain
}

/** For images of more than one volume; in the others there is nothing to see. */
function childrenJson(volumes: FoundVolume[]): JsonObject {
  const all = ownVolumes(volumes)
  const own = all.filter(({ directory }) => all.filter(volume => volume.directory === directory).length > 1)
  return Object.fromEntries(
    own.map(({ volumeId }) => [
      volumeId,
      own.filter(volume => volume.fields['parent'] === volumeId).map(volume => volume.volumeId)
    ])
  )
}

function dumpJson(volume: FoundVolume): JsonObject {
  return { ...volume.fields, status: volume.status, truesize: volume.used, apparentsize: volume.size }
}

export function domainInfoJson(fields: JsonObject, pairs: ReadonlyMap<string, string>): JsonObject {
  const text = (key: string): Json => pairs.get(key) ?? null
  return {
    uuid: text('SDUUID'),
    type: text('TYPE'),
    class: text('CLASS'),
    name: text('DESCRIPTION'),
    role: text('ROLE'),
    pool: fields['POOL_UUID'] ?? [],
    version: text('VERSION'),
    block_size: fields['BLOCK_SIZE'] ?? 512,
    alignment: fields['ALIGNMENT'] ?? 2 ** 20
  }
}

async function externalLeases(directory: string, alignment: number, sectorSize: 512 | 4096): Promise<Json> {
  const index = await readAt(`${directory}/dom_md/xleases`, alignment, indexSize)
  if (index.length === 0) return null // a local storage domain has none
  return leasesJson(XleasesIndex.load(index, bytes(alignment), sectorSize))
}

async function readAt(path: string, offset: number, length: number): Promise<Buffer> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (file === null) return Buffer.alloc(0)
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position: offset })
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Every sanlock resource: the manager's, the volumes', the external ones. */
async function resourcesJson(directory: string, entries: Entry[], alignment: number): Promise<Json[]> {
  const found: Json[] = []
  for (const { path, size, type } of entries) {
    const isArea = path === 'dom_md/leases' || path === 'dom_md/xleases'
    if (type !== 'file' || !(isArea || path.endsWith('.lease'))) continue
    for (let offset = 0; offset + 512 <= size; offset += alignment) {
      if (path === 'dom_md/xleases' && offset === alignment) continue
      const record = readSanlockRecord(await readAt(`${directory}/${path}`, offset, 512))
      if (record === null || record.resource === '') continue
      const { lockspace, resource, checksumValid, leaseVersion: version } = record
      found.push({ path, offset, lockspace, resource, version, checksumValid })
    }
  }
  return found
}

async function metadataFiles(directory: string, entries: Entry[]): Promise<JsonObject> {
  const texts: JsonObject = {}
  for (const { path } of entries) {
    if (!path.endsWith('.meta') && path !== 'dom_md/metadata') continue
    texts[path] = withoutPadding(await readFile(`${directory}/${path}`)).toString('utf8')
  }
  return texts
}
