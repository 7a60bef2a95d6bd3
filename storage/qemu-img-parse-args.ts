import { type Bytes, bytes } from '../common/units.js'
import { FormatError } from './format/format-error.js'
import type { VolumeFormat } from './format/volume-metadata.js'
import type { ConvertInto, MeasureDepth, QemuImgCommand } from './qemu-img-args.js'

// The way back from a command line to what it does; the counterpart of lvm-parse-args.ts.

type Words = { options: Map<string, string>; flags: Set<string>; operands: string[] }

const alone = [
  ...[
    '-p',
    '-n',
    '-W',
    '-u',
    '-U',
    '--target-is-zero',
    '--bitmaps',
    '--skip-broken-bitmaps',
    '--force-share'
  ],
  ...['--add', '--enable', '--zeroout', '--remove']
]

/** Reads an argument vector; null when it is none of ours. */
export function parseQemuImgArguments(argv: readonly string[]): QemuImgCommand | null {
  const [program, ...rest] = argv
  if (program === 'prlimit') return parseInspection(rest)
  if (program === 'blkdiscard') return parseDiscard(rest)
  const [verb, ...words] = rest
  if (program !== 'qemu-img' || verb === undefined) return null
  return readCommand(verb, sortWords(words))
}

function parseInspection(rest: readonly string[]): QemuImgCommand | null {
  const path = rest.at(-1)
  if (path === undefined || !rest.includes('/usr/bin/qemu-img')) return null
  return { kind: 'inspectUntrusted', path }
}

function parseDiscard(rest: readonly string[]): QemuImgCommand | null {
  const { options, flags, operands } = sortWords(rest)
  const [path] = operands
  if (path === undefined) return null
  if (!flags.has('--zeroout')) return { kind: 'discardDevice', path }
  return { kind: 'zeroDevice', path, length: sizeOf(options.get('--length')) }
}

function sortWords(words: readonly string[]): Words {
  const sorted: Words = { options: new Map(), flags: new Set(), operands: [] }
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (!word.startsWith('-')) sorted.operands.push(word)
    else if (alone.includes(word)) sorted.flags.add(word)
    else sorted.options.set(word, words[++i] ?? '')
  }
  return sorted
}

function readCommand(verb: string, { options, flags, operands }: Words): QemuImgCommand | null {
  const [first = '', second = ''] = operands
  const format = formatOf(options.get('-f'))
  const parentFormat = formatOf(options.get('-F'))
  const backing = options.get('-b')
  switch (verb) {
    case 'create':
      if (backing === undefined) return { kind: 'createBase', format, path: first, size: sizeOf(second) }
      return {
        kind: 'createChild',
        path: first,
        size: sizeOf(second),
        parentId: backing,
        parentFormat
      }
    case 'convert':
      return {
        kind: 'convert',
        from: { format, path: first },
        to: { format: formatOf(options.get('-O')), path: second },
        into: intoOf(options.get('-B'), flags),
        bitmaps: flags.has('--bitmaps')
      }
    case 'commit':
      return { kind: 'commit', top: first, base: backing ?? '' }
    case 'rebase':
      return { kind: 'rebaseHeader', path: first, parentId: backing ?? '', parentFormat }
    case 'info':
      return { kind: 'info', format, path: first, inUse: flags.has('-U') }
    case 'check':
      return { kind: 'check', path: first }
    case 'measure':
      return parseMeasure(first, flags.has('--force-share'))
    case 'bitmap':
      return parseBitmap(options, flags, first, second)
    case 'amend':
      return { kind: 'amend', path: first }
    case 'resize':
      return { kind: 'resize', path: first, size: sizeOf(second) }
    default:
      return null
  }
}

function sizeOf(word: string | undefined): Bytes {
  if (word !== undefined && /^\d{1,15}$/.test(word)) return bytes(Number(word))
  throw new FormatError('invalid', `${word} is no size in a command line of ours`)
}

const formatOf = (word: string | undefined): VolumeFormat => (word === 'raw' ? 'raw' : 'qcow2')

function intoOf(parentId: string | undefined, flags: Set<string>): ConvertInto {
  if (parentId !== undefined) return { kind: 'layer', parentId }
  if (flags.has('-W')) return { kind: 'device' }
  return flags.has('--target-is-zero') ? { kind: 'zeroFile' } : { kind: 'newFile' }
}

function parseBitmap(
  options: Map<string, string>,
  flags: Set<string>,
  path: string,
  name: string
): QemuImgCommand {
  const from = options.get('-b')
  if (from !== undefined) return { kind: 'mergeBitmap', from, path, name }
  if (flags.has('--remove')) return { kind: 'removeBitmap', path, name }
  const granularity = options.get('-g')
  return {
    kind: 'addBitmap',
    path,
    name,
    granularity: granularity === undefined ? null : sizeOf(granularity)
  }
}

const filePattern = '\\{"driver": "(host_device|file)", "filename": ("(?:[^"\\\\]|\\\\.)*")\\}'
const backingPattern = `, "backing": (?:(null)|\\{"driver": "(raw|qcow2)", "file": ${filePattern}(?:, "backing": null)?\\})`
const nodePattern = new RegExp(`^json:\\{"file": ${filePattern}, "driver": "qcow2"(?:${backingPattern})?\\}$`)

function parseMeasure(text: string, inUse: boolean): QemuImgCommand | null {
  const match = nodePattern.exec(text)
  if (match === null) return null
  const [, driver, path = '""', nothing, baseFormat, , basePath = '""'] = match
  const depth: MeasureDepth =
    nothing !== undefined
      ? { kind: 'layer' }
      : baseFormat === undefined
        ? { kind: 'chain' }
        : { kind: 'pair', base: { format: formatOf(baseFormat), path: unquoted(basePath) } }
  return { kind: 'measure', path: unquoted(path), onBlock: driver === 'host_device', inUse, depth }
}

function unquoted(text: string): string {
  try {
    return String(JSON.parse(text))
  } catch {
    throw new FormatError('invalid', `${text.slice(0, 100)} is no quoted path`)
  }
}
