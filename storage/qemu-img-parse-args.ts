import { bytes } from '../common/units.js'
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
  return { kind: 'zeroDevice', path, length: bytes(Number(options.get('--length'))) }
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
      if (backing === undefined)
        return { kind: 'createBase', format, path: first, size: bytes(Number(second)) }
      return {
        kind: 'createChild',
        path: first,
        size: bytes(Number(second)),
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
      return { kind: 'resize', path: first, size: bytes(Number(second)) }
    default:
      return null
  }
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
    granularity: granularity === undefined ? null : bytes(Number(granularity))
  }
}

type FileNode = { driver: string; filename: string }
type MeasureNode = { file: FileNode; backing?: { driver: string; file: FileNode } | null }

function parseMeasure(text: string, inUse: boolean): QemuImgCommand | null {
  if (!text.startsWith('json:')) return null
  const node = JSON.parse(text.slice(5)) as MeasureNode
  const onBlock = node.file.driver === 'host_device'
  return { kind: 'measure', path: node.file.filename, onBlock, inUse, depth: depthOf(node) }
}

function depthOf({ backing }: MeasureNode): MeasureDepth {
  if (backing === undefined) return { kind: 'chain' }
  if (backing === null) return { kind: 'layer' }
  return { kind: 'pair', base: { format: formatOf(backing.driver), path: backing.file.filename } }
}
