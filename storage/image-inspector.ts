import { BoundedReader, type ImageReader } from './image-inspector/bounded-reader.js'
import {
  type Ends,
  type ImageFormat,
  type Signature,
  headLength,
  signatures,
  tailLength
} from './image-inspector/detect.js'
import { type Finding, Findings, type SizeLimit, TiB, requireSize } from './image-inspector/findings.js'
import { readQcow2Header } from './image-inspector/qcow2-header.js'
import { checkImport } from './image-inspector/qcow2-import.js'
import { checkOwn } from './image-inspector/qcow2-own.js'
import { checkVdi } from './image-inspector/vdi.js'
import { checkVhd } from './image-inspector/vhd.js'
import { checkVhdx } from './image-inspector/vhdx.js'
import { checkVmdk } from './image-inspector/vmdk.js'

// Is this image safe to hand to qemu-img? A disk image can name other files, devices and network addresses as
// its backing file, data file or extent, and qemu-img follows them: the content of a host's file ends up in the
// user's disk, or the host is connected to wherever the image says. Stating the format on the command line
// does not help. So every image is looked at here before any program opens it, and anything that is not plain
// data in one known format is refused by name.

export type { ImageReader } from './image-inspector/bounded-reader.js'
export type { ImageFormat } from './image-inspector/detect.js'
export type { Finding } from './image-inspector/findings.js'

export type Inspection = {
  /** What the bytes are; null when they are something that is never imported, or several things at once. */
  format: ImageFormat | null
  virtualSize: bigint
  /** Empty: safe. Otherwise refuse, and tell the rule. */
  problems: Finding[]
}

/** 64 TiB, or less where the target cannot hold as much (8 TiB on block storage). */
export const largestImage: SizeLimit = { mostBytes: 64n * TiB }

const formatOf: Partial<Record<Signature, ImageFormat>> = {
  qcow2: 'qcow2',
  vmdk: 'vmdk',
  vpcFixed: 'vpc',
  vpcDynamic: 'vpc',
  vhdx: 'vhdx',
  vdi: 'vdi',
  iso: 'iso'
}

/**
 * Inspects an image from outside. `declared` is the format its owner stated; null asks what it is. Reads at most
 * 2 MiB in at most 64 pieces, whatever the image says.
 */
export async function inspectImage(
  image: ImageReader,
  declared: ImageFormat | null,
  limit: SizeLimit = largestImage
): Promise<Inspection> {
  const findings = new Findings()
  const reader = new BoundedReader(image, findings)
  const ends = await readEnds(reader)
  const found = signatures(ends)
  const format = decideFormat(found, declared, findings)
  const virtualSize = format === null ? 0n : await checkFormat(format, ends, reader, limit, findings)
  return { format, virtualSize, problems: findings.list }
}

async function readEnds(reader: BoundedReader): Promise<Ends> {
  const head = await reader.upTo(0n, headLength, 'the beginning')
  const start = reader.size > BigInt(tailLength) ? reader.size - BigInt(tailLength) : 0n
  return { head, tail: await reader.upTo(start, tailLength, 'the end') }
}

/** Exactly one format, and the declared one. A partition table is content: fine in raw data and hybrid ISOs. */
function decideFormat(
  found: Signature[],
  declared: ImageFormat | null,
  findings: Findings
): ImageFormat | null {
  const formats = found.filter(signature => signature !== 'partitionTable')
  const [first, ...others] = formats
  if (declared === 'raw' && first !== undefined) {
    findings.add(
      'raw-has-format',
      `declared raw, but it is ${formats.join(' and ')}: declare the real format`
    )
  }
  if (others.length > 0) {
    findings.add('polyglot', `the file is ${formats.join(' and ')} at once`)
    return null
  }
  if (found.includes('partitionTable') && first !== undefined && first !== 'iso' && first !== 'vpcFixed') {
    findings.add('polyglot', `the file is ${first} and has a partition table`)
  }
  const format = first === undefined ? 'raw' : (formatOf[first] ?? null)
  if (format === null) findings.add('format', `${first} is not imported`)
  else if (declared !== null && declared !== format) {
    findings.add('declared-format', `declared ${declared}, but it is ${format}`)
  }
  return format
}

async function checkFormat(
  format: ImageFormat,
  { head, tail }: Ends,
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): Promise<bigint> {
  const named = findings.of(format)
  switch (format) {
    case 'raw':
    case 'iso':
      requireSize(named, reader.size, limit)
      return reader.size
    case 'qcow2': {
      const header = readQcow2Header(head, named)
      if (header === null) return 0n
      checkImport(header, head, reader, limit, named)
      return header.virtualSize
    }
    case 'vmdk':
      return await checkVmdk(head, reader, limit, named)
    case 'vpc':
      return await checkVhd(head, tail, reader, limit, named)
    case 'vhdx':
      return await checkVhdx(reader, limit, named)
    case 'vdi':
      return checkVdi(head, reader, limit, named)
  }
}

/** What the metadata of a storage domain says about one volume of a chain. */
export type ExpectedVolume = {
  format: 'raw' | 'qcow2'
  /** The names under which the parent may stand in the header: the bare volume id, or `../<image>/<volume>`. */
  backing: { path: string | readonly string[]; format: 'raw' | 'qcow2' } | null
  capacity: bigint
  /** Recovery after a crash is running, so the volume may be marked dirty. */
  mayBeDirty?: boolean
  /** Storage domains of format V3 and below have headers of version 2. */
  mayBeVersion2?: boolean
}

/**
 * Looks at a volume of our own before a chain through it is used. A raw volume holds a guest's data and is not
 * looked into: whatever stands there, it is opened as raw. A qcow2 volume must say what its metadata says.
 */
export async function inspectVolume(
  volume: ImageReader,
  expected: ExpectedVolume,
  limit: SizeLimit = largestImage
): Promise<Inspection> {
  const findings = new Findings()
  if (expected.format === 'raw') {
    const isWhole = volume.size >= expected.capacity
    findings
      .of('raw')
      .require(isWhole, 'capacity', `${volume.size} bytes, the capacity is ${expected.capacity}`)
    return { format: 'raw', virtualSize: volume.size, problems: findings.list }
  }
  const named = findings.of('qcow2')
  const reader = new BoundedReader(volume, findings)
  const head = await reader.upTo(0n, headLength, 'the beginning')
  const isQcow2 = head.toString('latin1', 0, 4) === 'QFI\xfb'
  const header = named.require(isQcow2, 'magic', 'the volume is no qcow2 image')
    ? readQcow2Header(head, named)
    : null
  if (header === null) return { format: null, virtualSize: 0n, problems: findings.list }
  const { backing } = expected
  checkOwn(
    header,
    head,
    reader,
    limit,
    {
      backing: backing === null ? null : { names: [backing.path].flat(), format: backing.format },
      capacity: expected.capacity,
      mayBeDirty: expected.mayBeDirty ?? false,
      mayBeVersion2: expected.mayBeVersion2 ?? false
    },
    named
  )
  return { format: 'qcow2', virtualSize: header.virtualSize, problems: findings.list }
}
