import { XMLParser } from 'fast-xml-parser'
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

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  htmlEntities: true
})

/** One well-formed element, or a fault. Entities of a document's own are refused. */
export function readXml(text: string): XmlElement {
  if (text.length > largest) throw unreadable('larger than 4 MiB')
  if (text.includes('<!DOCTYPE')) throw unreadable('has a document type')
  let nodes: unknown
  try {
    nodes = parser.parse(text, true)
  } catch (error) {
    throw unreadable('not well-formed', error)
  }
  const roots = elementsIn(nodes, 0)
  const [root] = roots
  if (!root || roots.length > 1) throw unreadable('not one element')
  return root
}

export const child = ({ children }: XmlElement, name: string) =>
  children.find(found => found.name === name) ?? null
export const childrenOf = ({ children }: XmlElement, name: string) =>
  children.filter(found => found.name === name)

/** Down a path of names; null where it ends early. */
export function at(from: XmlElement | null, ...path: string[]): XmlElement | null {
  return path.reduce<XmlElement | null>((found, name) => found && child(found, name), from)
}

function elementsIn(nodes: unknown, depth: number): XmlElement[] {
  if (!Array.isArray(nodes)) throw unreadable('not a list of nodes')
  if (depth > deepest) throw unreadable(`nested deeper than ${deepest}`)
  return nodes.flatMap((node: Record<string, unknown>) => {
    const name = Object.keys(node).find(key => key !== ':@')
    if (name === undefined || name === '#text' || name.startsWith('?')) return []
    const content = node[name]
    const attributes = (node[':@'] ?? {}) as Record<string, string>
    return [{ name, attributes, children: elementsIn(content, depth + 1), text: textIn(content) }]
  })
}

function textIn(content: unknown): string {
  if (!Array.isArray(content)) return ''
  return content.map((node: Record<string, unknown>) => String(node['#text'] ?? '')).join('')
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
