import { Fault } from '../common/fault.js'

/** The only form in which XML is made or read here. Names are constants of ours, never input. */
export type XmlElement = {
  name: string
  attributes: Record<string, string>
  children: XmlElement[]
  text: string
}

type Attributes = Record<string, string | number | boolean | null | undefined>
type Child = XmlElement | null | undefined | false

/** Attributes that are null are left out; so are children. */
export function element(name: string, attributes: Attributes = {}, ...children: Child[]): XmlElement {
  const present = Object.entries(attributes).flatMap(([key, value]) => {
    if (value === null || value === undefined) return []
    return [[key, typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value)] as const]
  })
  return { name, attributes: Object.fromEntries(present), children: children.filter(isElement), text: '' }
}

export function textElement(name: string, text: string | number, attributes: Attributes = {}): XmlElement {
  return { ...element(name, attributes), text: String(text) }
}

export function writeXml({ name, attributes, children, text }: XmlElement): string {
  const head = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`)
  const body = escaped(text) + children.map(writeXml).join('')
  return body === '' ? `<${name}${head.join('')}/>` : `<${name}${head.join('')}>${body}</${name}>`
}

const largest = 4 * 2 ** 20
const deepest = 64

// An agent that starts reads the XML of all its VMs, some 20 KiB each: what is written here takes a fifth of the time
// that a parser of everything takes. Each alternative begins with another character, so no input is read twice.
const xmlName = String.raw`[A-Za-z_:\u0080-\uffff][\w:.\u0080-\uffff-]*`
const pair = String.raw`\s+(${xmlName})\s*=\s*(?:"([^"<]*)"|'([^'<]*)')`
const pairs = pair.replaceAll(/\((?!\?)/g, '(?:')
const markup = new RegExp(
  String.raw`<(?:/(${xmlName})\s*>|(${xmlName})((?:${pairs})*)\s*(/?)>|!--[^]*?-->|\?[^]*?\?>|!\[CDATA\[([^]*?)\]\]>)`,
  'y'
)
const attribute = new RegExp(pair, 'g')

/** One well-formed element, or a fault. Entities of a document's own are refused. */
export function readXml(text: string): XmlElement {
  if (text.length > largest) throw unreadable('larger than 4 MiB')
  if (text.includes('<!DOCTYPE')) throw unreadable('has a document type')
  const document = element('')
  const open = [document]
  for (let at = 0; at < text.length;) {
    const start = text.indexOf('<', at)
    const end = start < 0 ? text.length : start
    const inner = open.at(-1) ?? document
    if (end > at) inner.text += unescaped(text.slice(at, end))
    if (start < 0) break
    markup.lastIndex = start
    const found = markup.exec(text)
    if (!found) throw unreadable('not well-formed')
    at = markup.lastIndex
    const [, closed, name, attributes = '', isEmpty, characters] = found
    if (characters !== undefined) inner.text += characters
    if (closed !== undefined && (open.length === 1 || open.pop()?.name !== closed))
      throw unreadable('not well-formed')
    if (name === undefined) continue
    const added = { name, attributes: attributesIn(attributes), children: [], text: '' }
    inner.children.push(added)
    if (isEmpty === '/') continue
    if (open.push(added) > deepest) throw unreadable(`nested deeper than ${deepest}`)
  }
  const [root] = document.children
  if (open.length > 1) throw unreadable('not well-formed')
  if (!root || document.children.length > 1 || document.text.trim() !== '')
    throw unreadable('not one element')
  return root
}

function attributesIn(text: string): Record<string, string> {
  if (text === '') return {}
  const pairs = [...text.matchAll(attribute)].map(
    ([, name = '', double, single = '']) => [name, unescaped(double ?? single)] as const
  )
  const attributes = Object.fromEntries(pairs)
  if (Object.keys(attributes).length < pairs.length) throw unreadable('not well-formed')
  return attributes
}

const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescaped(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(\w{1,8}))?(;?)/g,
    (_, decimal, hex, name, end) => {
      const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal)
      const meant = name === undefined ? characterOf(code) : named[name]
      if (meant === undefined || end !== ';') throw unreadable('not well-formed')
      return meant
    }
  )
}

const characterOf = (code: number) => (code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : undefined)

export const child = ({ children }: XmlElement, name: string) =>
  children.find(found => found.name === name) ?? null
export const childrenOf = ({ children }: XmlElement, name: string) =>
  children.filter(found => found.name === name)

/** Down a path of names; null where it ends early. */
export function at(from: XmlElement | null, ...path: string[]): XmlElement | null {
  return path.reduce<XmlElement | null>((found, name) => found && child(found, name), from)
}

const isElement = (node: Child): node is XmlElement => node !== null && node !== undefined && node !== false

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;'
}
const escaped = (text: string) => text.replace(/[&<>"'\t\n\r]/g, character => entities[character] ?? '')

const unreadable = (why: string, cause?: unknown) =>
  new Fault('LIBVIRT_FAILED', `XML of libvirt is ${why}`, { cause })
