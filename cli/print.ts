import Table from 'cli-table3'
import type { Fault } from '../common/fault.js'
import { formatEnum, formatSize, formatTime, rfc3339, type WireTime } from './units.js'

/** Where output goes; tests put their own. */
export type Out = {
  print(text: string): void
  complain(text: string): void
  /** Whether a person looks on: then progress is drawn, and long work waited for. */
  interactive: boolean
  /** Rewrites the last line of a terminal. */
  redraw(line: string): void
}

export const terminal: Out = {
  print: text => process.stdout.write(`${text}\n`),
  complain: text => process.stderr.write(`${text}\n`),
  interactive: process.stdout.isTTY === true && process.stderr.isTTY === true,
  redraw: line => process.stderr.write(`\r\u001b[K${line}`)
}

/** A message as proto3 JSON has it: times as RFC 3339, bytes as base64; oneof discriminators left out. */
export function plainJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(plainJson)
  if (typeof value !== 'object' || value === null) return value
  if (isTime(value)) return rfc3339(value)
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, plainJson(held)]))
}

const isTime = (value: object): value is WireTime =>
  Object.keys(value).length === 2 &&
  'seconds' in value &&
  'nanos' in value &&
  typeof value.seconds === 'string'

export const json = (value: unknown) => JSON.stringify(plainJson(value), null, 2)
export const jsonLine = (value: unknown) => JSON.stringify(plainJson(value))

/** Text from a guest or a server may carry terminal escapes: they are shown, never obeyed. */
export const harmless = (text: string) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\uFFFD')

const noBorders = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
    .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'])
    .map(name => [name, ''])
)

/** Rows under their titles, two spaces between columns, no lines: also good for grep and awk. */
export function table(titles: string[], rows: string[][]): string {
  const drawn = new Table({
    head: titles,
    chars: { ...noBorders, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  })
  drawn.push(...rows.map(row => row.map(cell => harmless(cell).replace(/\s*\n\s*/g, ' '))))
  return drawn.toString().replace(/ +$/gm, '')
}

const enumPrefixes: Record<string, string> = {
  status: '[A-Z]+(?:_[A-Z]+)*?_STATUS',
  state: '[A-Z]+_STATE',
  phase: 'THIN_PHASE',
  way: 'EXTEND_WAY',
  lastWay: 'EXTEND_WAY'
}

/** One object in full: a line a field, nested ones indented; what is empty is left out. */
export function details(value: object, indent = ''): string {
  const lines: string[] = []
  for (const [name, held] of Object.entries(value)) {
    const label = `${indent}${name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)}:`
    if (isEmpty(held)) continue
    if (Array.isArray(held) && held.every(item => typeof item !== 'object'))
      lines.push(`${label} ${held.map(String).map(harmless).join(', ')}`)
    else if (Array.isArray(held)) {
      lines.push(label)
      for (const item of held)
        lines.push(`${details(item as object, `${indent}    `).replace(/^(\s*)  /, '$1- ')}`)
    } else if (typeof held === 'object' && held !== null && !isTime(held) && !(held instanceof Uint8Array)) {
      const inner = details(held, `${indent}  `)
      if (inner !== '') lines.push(label, inner)
    } else lines.push(`${label} ${scalar(name, held)}`)
  }
  return lines.join('\n')
}

function scalar(name: string, held: unknown): string {
  if (typeof held === 'object' && held !== null && isTime(held)) return formatTime(held)
  if (held instanceof Uint8Array) return Buffer.from(held).toString('base64')
  if (/(bytes|Bytes|capacity|^size)$/.test(name) && /^\d+$/.test(String(held)))
    return `${formatSize(String(held))} (${String(held)})`
  const prefix = enumPrefixes[name] && new RegExp(`^(${enumPrefixes[name]})_`).exec(String(held))?.[1]
  return harmless(prefix ? formatEnum(String(held), prefix) : String(held))
}

const isEmpty = (held: unknown) =>
  held === null ||
  held === undefined ||
  held === '' ||
  held === 0 ||
  held === '0' ||
  held === false ||
  (typeof held === 'string' && held.endsWith('_UNSPECIFIED')) ||
  (Array.isArray(held) && held.length === 0) ||
  (typeof held === 'object' &&
    !Array.isArray(held) &&
    !(held instanceof Uint8Array) &&
    Object.keys(held).length === 0)

/** A failure for a person: what, which fields, and what to do next. */
export function faultText(fault: Fault): string {
  const lines = [`Error: ${harmless(fault.message)}`]
  if (fault.violations.length > 1) {
    for (const { field, description } of fault.violations)
      lines.push(`  ${harmless(field)}: ${harmless(description)}`)
  }
  const facts = Object.entries(fault.facts).map(([name, held]) => `${name}=${harmless(held)}`)
  lines.push(`  [${[fault.reason, ...facts].join(' ')}]`, `Next: ${fault.nextStep}`)
  return lines.join('\n')
}
