import { FormatError } from './format-error.js'

// LVM's text metadata, as `vgcfgbackup` prints it and as it lies in the metadata area of a physical volume.
// LVM writes it; we only read it, to look at a storage domain whose LVM does not run.
//
//   name { … }   key = "text" | 123 | ["text", 123]   # comment

export type LvmNode = Map<string, LvmValue>
export type LvmValue = string | number | Array<string | number> | LvmNode

export type LvmSegment = { start: number; extents: number; pv: string; pvStart: number }
export type LvmVolume = { name: string; uuid: string; tags: string[]; segments: LvmSegment[] }
export type LvmPv = { name: string; uuid: string; device: string; start: number; extents: number }
export type LvmGroup = {
  name: string
  uuid: string
  seqno: number
  tags: string[]
  flags: string[]
  extentSize: number
  pvs: LvmPv[]
  volumes: LvmVolume[]
}

/** The volume group in a text. Sizes and places are in bytes and extents, not in LVM's sectors. */
export function readLvmGroup(text: string): LvmGroup {
  const root = parseLvmText(text)
  const found = [...root].find((entry): entry is [string, LvmNode] => entry[1] instanceof Map)
  if (found === undefined) throw new FormatError('missing', 'there is no volume group in the text')
  const [name, vg] = found
  return {
    name,
    uuid: text_(vg, 'id'),
    seqno: number_(vg, 'seqno'),
    tags: list(vg, 'tags'),
    flags: list(vg, 'flags'),
    extentSize: number_(vg, 'extent_size') * 512,
    pvs: children(vg, 'physical_volumes').map(([pvName, pv]) => readPv(pvName, pv)),
    volumes: children(vg, 'logical_volumes').map(([lvName, lv]) => readVolume(lvName, lv))
  }
}

function readPv(name: string, pv: LvmNode): LvmPv {
  return {
    name,
    uuid: text_(pv, 'id'),
    device: text_(pv, 'device'),
    start: number_(pv, 'pe_start') * 512,
    extents: number_(pv, 'pe_count')
  }
}

function readVolume(name: string, lv: LvmNode): LvmVolume {
  const segments = [...lv.values()].filter(
    (value): value is LvmNode => value instanceof Map && value.has('extent_count')
  )
  return { name, uuid: text_(lv, 'id'), tags: list(lv, 'tags'), segments: segments.flatMap(readSegment) }
}

/**
 * While a physical volume is being emptied, its extents are those of a volume of LVM's own, once where they are
 * and once where they go; the volumes that they belong to have a place in that one.
 */
export const isMove = ({ name }: Pick<LvmVolume, 'name'>) => /^pvmove\d+$/.test(name)

/** One place for each copy: a move has two, everything else one. */
function readSegment(segment: LvmNode): LvmSegment[] {
  const places = segment.get('type') === 'mirror' ? segment.get('mirrors') : segment.get('stripes')
  const wanted = segment.get('type') === 'mirror' ? 4 : 2
  if (!Array.isArray(places) || places.length !== wanted) {
    throw new FormatError('invalid', 'a segment that is not linear')
  }
  const start = number_(segment, 'start_extent')
  const extents = number_(segment, 'extent_count')
  const copies = places.length / 2
  return Array.from({ length: copies }, (_, n) => {
    return { start, extents, pv: String(places[2 * n]), pvStart: Number(places[2 * n + 1]) }
  })
}

function text_(node: LvmNode, key: string): string {
  const value = node.get(key)
  if (typeof value !== 'string') throw new FormatError('missing', `no text ${key} in the LVM metadata`)
  return value
}

function number_(node: LvmNode, key: string): number {
  const value = node.get(key)
  if (typeof value !== 'number') throw new FormatError('missing', `no number ${key} in the LVM metadata`)
  return value
}

function list(node: LvmNode, key: string): string[] {
  const value = node.get(key)
  return Array.isArray(value) ? value.map(String) : []
}

function children(node: LvmNode, key: string): Array<[string, LvmNode]> {
  const value = node.get(key)
  return value instanceof Map
    ? [...value].filter((entry): entry is [string, LvmNode] => entry[1] instanceof Map)
    : []
}

type Token = { kind: 'word' | 'text' | 'number' | 'sign'; value: string; at: number }

const deepest = 16

export function parseLvmText(text: string): LvmNode {
  const tokens = tokenize(text)
  let next = 0
  const take = (): Token => {
    const token = tokens[next++]
    if (token === undefined)
      throw new FormatError('truncated', 'the LVM metadata ends in the middle', text.length)
    return token
  }
  const expect = (sign: string): void => {
    const token = take()
    if (token.value !== sign || token.kind !== 'sign') throw unexpected(token)
  }
  const section = (depth: number): LvmNode => {
    if (depth > deepest) throw new FormatError('invalid', 'the LVM metadata is nested too deeply')
    const node: LvmNode = new Map()
    for (let token = tokens[next]; token !== undefined && token.value !== '}'; token = tokens[next]) {
      const key = take()
      if (key.kind === 'sign') throw unexpected(key)
      const after = take()
      if (after.value === '{') {
        node.set(key.value, section(depth + 1))
        expect('}')
      } else if (after.value === '=') node.set(key.value, value())
      else throw unexpected(after)
    }
    return node
  }
  const value = (): LvmValue => {
    const token = take()
    if (token.kind === 'text') return token.value
    if (token.kind === 'number') return Number(token.value)
    if (token.value !== '[') throw unexpected(token)
    const items: Array<string | number> = []
    for (let item = take(); item.value !== ']' || item.kind !== 'sign'; item = take()) {
      if (item.kind === 'text') items.push(item.value)
      else if (item.kind === 'number') items.push(Number(item.value))
      else if (item.value !== ',') throw unexpected(item)
    }
    return items
  }
  const root = section(0)
  const rest = tokens[next]
  if (rest !== undefined) throw unexpected(rest)
  return root
}

function unexpected(token: Token): FormatError {
  return new FormatError('invalid', `"${token.value.slice(0, 40)}" is unexpected in LVM metadata`, token.at)
}

const pattern = /[ \t\r\n]+|#[^\n]*|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)(?![\w.+-])|([\w.+-]+)|([{}=[\],])/gy

function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  pattern.lastIndex = 0
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex
    const match = pattern.exec(text)
    if (match === null) {
      if (text.charCodeAt(at) === 0) break // padding
      throw new FormatError('invalid', `"${text.charAt(at)}" is unexpected in LVM metadata`, at)
    }
    const [, quoted, number, word, sign] = match
    if (quoted !== undefined) tokens.push({ kind: 'text', value: quoted.replace(/\\(.)/g, '$1'), at })
    else if (number !== undefined) tokens.push({ kind: 'number', value: number, at })
    else if (word !== undefined) tokens.push({ kind: 'word', value: word, at })
    else if (sign !== undefined) tokens.push({ kind: 'sign', value: sign, at })
  }
  return tokens
}
