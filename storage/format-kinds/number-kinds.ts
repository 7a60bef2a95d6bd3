import { MiB } from '../../common/units.js'
import { FormatError } from '../format/format-error.js'
import {
  alignmentFor,
  freeSlot,
  slotOffset,
  specialVolumes,
  volumeLeaseOffset
} from '../format/leases-layout.js'
import { normalRemotePath, vdsmMountName } from '../format/remote-path.js'
import { nextGeneration } from '../format/volume-metadata.js'
import {
  extents,
  initialAllocation,
  largestOnBlock,
  largestOnFile,
  mebibytes,
  optimalSize,
  vdsmExtension
} from '../format/volume-sizes.js'
import { At, type Json, type JsonObject, parseJson } from './json.js'
import type { Kind } from './kind.js'

const size = (example: At, key: string) => example.get(key).size()

function allocation(example: At): JsonObject {
  const initial = example.has('initialSize') ? size(example, 'initialSize') : null
  const format = example.get('format').text() === 'RAW' ? 'raw' : 'qcow2'
  const policy = example.get('type').text() === 'SPARSE' ? 'thin' : 'preallocated'
  try {
    const capacity = size(example, 'capacity')
    const allocBytes = initialAllocation({ format, allocation: policy, capacity }, initial)
    return { allocBytes, lvSizeMiB: mebibytes(allocBytes), lvExtents: extents(allocBytes), error: null }
  } catch (error) {
    if (!(error instanceof FormatError) || error.reason !== 'invalid') throw error
    return { allocBytes: null, lvSizeMiB: null, lvExtents: null, error: 'InvalidParameterException' }
  }
}

function extension(example: At): JsonObject {
  const replicating = example.get('replicating').boolean()
  const found = vdsmExtension(size(example, 'capacity'), size(example, 'physical'), replicating)
  return {
    chunk: found.chunk,
    freeLimit: found.freeLimit,
    threshold: found.threshold,
    maxSize: found.largest,
    nextSize: found.nextSize,
    canExtend: found.canGrow
  }
}

function mountDir(example: At): JsonObject {
  const normalized = normalRemotePath(example.get('remote').text())
  return { normalized, dir: vdsmMountName(normalized) }
}

/** Each table of examples and how its answers follow from its questions. */
const tables: Record<string, (example: At) => JsonObject> = {
  blockAllocSize: allocation,
  maxSize: example => {
    const capacity = size(example, 'capacity')
    return { blockCow: largestOnBlock(capacity), fileCow: largestOnFile(capacity), raw: capacity }
  },
  optimalCowSize: example => ({
    optimal: optimalSize(
      size(example, 'required'),
      size(example, 'capacity'),
      example.get('isLeaf').boolean()
    )
  }),
  driveExtend: extension,
  generation: example => ({ to: nextGeneration(example.get('from').number()) }),
  alignment: example => ({
    alignment: alignmentFor(example.get('blockSize').sectorSize(), example.get('maxHosts').number())
  }),
  slotOffsets: example => {
    const slot = example.get('slot').number()
    const version = example.get('version').number() >= 5 ? 5 : 4
    return { metadataOffset: slotOffset(slot, version), leaseOffset: volumeLeaseOffset(slot, MiB(1)) }
  },
  freeSlot: example => ({
    freeV5: freeSlot(
      example
        .get('occupied')
        .list()
        .map(slot => slot.number())
    )
  }),
  mountDir
}

function specialVolumesJson(): JsonObject {
  const volumes = specialVolumes(MiB(1))
  const sizes = Object.fromEntries(volumes.map(volume => [volume.name, mebibytes(volume.size)]))
  const { metadata = null, master = null, ...aligned } = sizes
  return { alignment1M: aligned, metadata, master, order: volumes.map(volume => volume.name) }
}

function recompute(json: Json): Json {
  const root = new At(json)
  const document: JsonObject = { ...root.object() }
  for (const [key, answer] of Object.entries(tables)) {
    if (!root.has(key)) continue
    const examples = root.get(key).list()
    document[key] = examples.map(example => ({ ...example.object(), ...answer(example) }))
  }
  if (root.has('specialVolumesMiB')) document['specialVolumesMiB'] = specialVolumesJson()
  return document
}

export const numbers: Kind = {
  name: 'numbers',
  about: 'sizes, thresholds, slot and lease places, free slots, alignments and mount names',
  decode: content => recompute(parseJson(content)),
  encode: recompute
}
