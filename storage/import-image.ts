import { realpath } from 'node:fs/promises'
import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { type Bytes, bytes } from '../common/units.js'
import { type CopyTarget, createTarget, finishCopy, intoVolume, requiredIn, roomFor } from './copy-image.js'
import type { DataProgram } from './data-program.js'
import { ifThere, isCode } from './files.js'
import { largestOnBlock } from './format/volume-sizes.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import { openImageFile } from './image-file.js'
import { type Finding, type ImageFormat, inspectImage } from './image-inspector.js'
import { largestCapacity, type Operation } from './operation.js'
import { sandboxedConvert, sandboxedMeasure } from './sandbox.js'
import type { Sanlock } from './sanlock.js'
import { uploadPath, type UploadPlace } from './uploads.js'

// Brings an untrusted file in: looked at by our own inspector before any program opens it, then always converted
// in a sandbox into a fresh volume with our own parameters. Like a copy, the volume is illegal until the end.

export type SourceFile = { kind: 'upload'; uploadId: string } | { kind: 'path'; path: string }
export type ImportSource = { source: SourceFile; declared: ImageFormat | null }
export type InspectedImage = { format: ImageFormat | null; virtualSize: Bytes; problems: Finding[] }
export type ImportPlan = CopyTarget & ImportSource
export type FinishImport = CopyTarget
/** `source` is the file for the program that computes its checksum. */
export type ImportBegun = { program: DataProgram; source: string }

/** What an import needs to know of its host. */
export type ImportPlace = {
  uploads: UploadPlace
  /** The only directory from which files are taken; null forbids it. */
  importDirectory: string | null
  withBubblewrap: boolean
}

export async function inspectSource(
  { source, declared }: ImportSource,
  place: ImportPlace
): Promise<InspectedImage> {
  const path = await pathOf(source, place)
  await using file = await openImageFile(path)
  const { format, virtualSize, problems } = await inspectImage(file, declared)
  const isSane = virtualSize >= 0n && virtualSize <= BigInt(Number.MAX_SAFE_INTEGER)
  return { format, virtualSize: bytes(isSane ? Number(virtualSize) : 0), problems }
}

/** Null when an earlier attempt has finished. */
export async function beginImport(
  op: Operation,
  plan: ImportPlan,
  place: ImportPlace,
  sanlock: Sanlock,
  signal: AbortSignal
): Promise<ImportBegun | null> {
  const known = await finished(op, plan)
  if (known) return null
  const { format, virtualSize, problems } = await inspectSource(plan, place)
  if (problems.length > 0 || format === null) throw refused(problems)
  if (virtualSize > largestCapacity) throw refused([{ rule: 'size', text: `it has ${virtualSize} bytes` }])

  const content = format === 'iso' ? 'ISOF' : 'DATA'
  const capacity = bytes(Number(virtualSize))
  const source = await pathOf(plan.source, place)
  const initialSize =
    op.storageDomain.volumes.onBlock && plan.format === 'qcow2'
      ? roomFor(plan, capacity, await measured(op, source, format, capacity, place.withBubblewrap, signal))
      : undefined
  const target = await createTarget(op, plan, { capacity, diskContent: content, initialSize }, signal)
  await op.storageDomain.volumes.reach([plan], signal)
  const conversion = {
    source,
    sourceFormat: format,
    target: op.storageDomain.volumes.path(plan),
    targetFormat: plan.format,
    into: intoVolume(op, target),
    ontoDevice: op.storageDomain.volumes.onBlock
  }
  await crashpoint('image.import/begun')
  const argv = ['/usr/bin/env', '-C', '/', ...sandboxedConvert(conversion, place.withBubblewrap)]
  const { identity, leases } = op.storageDomain
  const holding = identity.shared ? sanlock.holding(await leases.volumeResource(plan)) : []
  return { program: { argv: [...holding, ...argv], progress: 'qemu-img' }, source }
}

/** What the image needs as qcow2. Where that cannot be found out in time it may need all its room. */
async function measured(
  op: Operation,
  source: string,
  format: ImageFormat,
  capacity: Bytes,
  withBubblewrap: boolean,
  signal: AbortSignal
): Promise<Bytes> {
  const argv = sandboxedMeasure(source, format, withBubblewrap)
  try {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(60_000)])
    const { stdout } = await op.run('/usr/bin/env', ['-C', '/', ...argv], inTime, { endsGroup: true })
    return requiredIn(stdout)
  } catch (error) {
    signal.throwIfAborted()
    op.log.warn({ err: error }, 'an image could not be measured')
    return largestOnBlock(capacity)
  }
}

async function finished(op: Operation, plan: ImportPlan): Promise<boolean> {
  const volume = await op.storageDomain.volumes.read(plan).catch((error: unknown) => {
    if (Fault.is(error, 'VOLUME_NOT_FOUND')) return null
    throw error
  })
  return volume?.legality === 'legal' && volume.format === plan.format
}

/** The same end as a copy's: the data is on storage, then the volume is legal. */
export async function finishImport(
  op: Operation,
  target: FinishImport,
  signal: AbortSignal
): Promise<VolumeMetadata> {
  return finishCopy(op, target, signal)
}

/** The file behind a source; for the programs that read it. */
export async function pathOf(source: SourceFile, place: ImportPlace): Promise<string> {
  if (source.kind === 'upload') return uploadPath(place.uploads, source.uploadId)
  if (place.importDirectory === null) {
    throw new Fault('PERMISSION_DENIED', 'this host imports no files: no import directory is configured')
  }
  const allowed = await ifThere(realpath(place.importDirectory))
  const isInside = (path: string) => [allowed, place.importDirectory].some(own => path.startsWith(`${own}/`))
  // What lies elsewhere is not even looked for: the answer would tell whether it is there.
  if (!isInside(source.path)) throw outside()
  const path = await realpath(source.path).catch(unlessUnfit)
  if (path === null) throw new Fault('NOT_FOUND', 'there is no such file in the import directory')
  if (!path.startsWith(`${allowed}/`)) throw outside()
  return path
}

/** No such file, or a name that no file can have. */
function unlessUnfit(error: unknown): null {
  if (isCode(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP')) return null
  throw error
}

const outside = () => new Fault('PERMISSION_DENIED', 'only files below the import directory can be imported')

function refused(problems: Finding[]): Fault {
  const text = problems.map(problem => `${problem.rule}: ${problem.text}`).join('; ')
  return new Fault('IMAGE_REFUSED', text || 'format: it is not a known image', {
    facts: { rule: problems[0]?.rule ?? 'format' }
  })
}
