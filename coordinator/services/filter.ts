import type { Rule } from '../../common/rules.js'

// The filter grammar of all lists. PURE.
//
//   filter     condition { AND condition }
//   condition  field ( "=" | "!=" ) value
//   value      "text with * for anything", or a bare word: UP, true, 4f0c…-UUID
//
// A bare word stands for itself; only quoted text has wildcards. \" and \\ stand for " and \ in quotes.

export type Condition = { field: string; negated: boolean; value: string; isPattern: boolean }

export const mostConditions = 10

type Token = { kind: 'word' | 'text' | 'operator'; text: string }

const shapes: ReadonlyArray<readonly [Token['kind'] | 'space', RegExp]> = [
  ['space', /\s+/y],
  ['text', /"((?:[^"\\]|\\["\\])*)"/y],
  ['operator', /!=|=/y],
  ['word', /[A-Za-z0-9_.:-]+/y]
]

/** The conditions, or what is wrong with the text. */
export const filterRule: Rule<Condition[]> = value => {
  const text = typeof value === 'string' ? value : ''
  if (text.length > 2000) return { wrong: 'must be at most 2000 characters' }
  const tokens = tokensOf(text)
  if (typeof tokens === 'string') return { wrong: tokens }
  return parse(tokens)
}

function tokensOf(text: string): Token[] | string {
  const tokens: Token[] = []
  for (let at = 0; at < text.length;) {
    let matched = false
    for (const [kind, shape] of shapes) {
      shape.lastIndex = at
      const match = shape.exec(text)
      if (!match) continue
      if (kind !== 'space') tokens.push({ kind, text: match[1] ?? match[0] })
      at = shape.lastIndex
      matched = true
      break
    }
    if (!matched) return `cannot be read at character ${at + 1}`
  }
  return tokens
}

function parse(tokens: readonly Token[]): { value: Condition[] } | { wrong: string } {
  const conditions: Condition[] = []
  for (let at = 0; at < tokens.length; at += 4) {
    const [field, operator, value, joint] = tokens.slice(at, at + 4)
    if (field?.kind !== 'word' || operator?.kind !== 'operator') return { wrong: shapeInWords }
    if (!value || value.kind === 'operator') return { wrong: shapeInWords }
    const isLast = joint === undefined
    if (!isLast && (joint.kind !== 'word' || joint.text.toUpperCase() !== 'AND' || at + 4 >= tokens.length)) {
      return { wrong: 'must join conditions by AND' }
    }
    conditions.push({
      field: field.text,
      negated: operator.text === '!=',
      ...(value.kind === 'text' ? quoted(value.text) : { value: value.text, isPattern: false })
    })
  }
  if (conditions.length > mostConditions) return { wrong: `must have at most ${mostConditions} conditions` }
  return { value: conditions }
}

const shapeInWords = 'must be conditions like `name = "web*"` joined by AND'

function quoted(raw: string): { value: string; isPattern: boolean } {
  return { value: raw.replace(/\\(["\\])/g, '$1'), isPattern: raw.includes('*') }
}

/** The text as a pattern of SQLite's GLOB, where only * is special. */
export const globOf = (pattern: string) => pattern.replace(/[[?]/g, character => `[${character}]`)
