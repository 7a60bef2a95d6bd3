import type { BoundedReader } from './bounded-reader.js'
import type { Findings, SizeLimit } from './findings.js'
import { type Qcow2Header, checkGeometry, extensionTypes, features, readExtensions } from './qcow2-header.js'

const knownOnImport = features.dirty | features.compressionType | features.extendedL2
const rawExternalData = 1n << 1n

/** An image from outside. */
export function checkImport(
  header: Qcow2Header,
  head: Buffer,
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): void {
  const { offset, length } = header.backingName
  findings.require(offset === 0n && length === 0, 'backing-file', 'the image has a backing file')
  checkImportFeatures(header, findings)
  if (!checkGeometry(header, reader.size, limit, findings, { least: 9, most: 21 })) return
  for (const { type } of readExtensions(header, head, findings) ?? []) {
    if (type === extensionTypes.backingFormat)
      findings.add('backing-file', 'the image names a backing format')
    if (type === extensionTypes.dataFile) findings.add('data-file', 'the image names an external data file')
    if (type === extensionTypes.encryption) findings.add('encryption', 'the image is encrypted')
  }
}

function checkImportFeatures(header: Qcow2Header, findings: Findings): void {
  const { incompatible } = header
  findings.require((incompatible & 2n) === 0n, 'corrupt', 'the image is marked corrupt')
  findings.require((incompatible & 4n) === 0n, 'data-file', 'the image has an external data file')
  const unknown = incompatible & ~(knownOnImport | 6n)
  findings.require(unknown === 0n, 'features', `unknown incompatible features 0x${unknown.toString(16)}`)
  const isRawData = (header.autoclear & rawExternalData) !== 0n
  findings.require(!isRawData, 'data-file', 'the image says that its data file is raw')
  checkCompression(header, findings)
}

function checkCompression(header: Qcow2Header, findings: Findings): void {
  const hasBit = (header.incompatible & features.compressionType) !== 0n
  const type = header.compressionType
  const isFine = hasBit ? header.headerLength >= 112 && type <= 1 : type === 0
  findings.require(
    isFine,
    'compression-type',
    `compression type ${type} with header length ${header.headerLength}`
  )
}
