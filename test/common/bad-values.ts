import { randomUUID } from 'node:crypto'
import { ScalarType, type DescField, type DescMessage, type DescMethod } from '@bufbuild/protobuf'
import { readRegistry } from '../../common/policy.js'
import { descriptorSet } from '../../proto/load.js'

// Requests that are wrong in one field, made from the contract alone: what a caller may send who reads nothing but
// the proto files.

export type BadRequest = {
  /** Full path of the method. */
  path: string
  /** The field as the answer must name it: "vm.disks". */
  field: string
  what: string
  request: object
}

type Message = Record<string, unknown>
const mostDepth = 4

/** All unary methods of a package, with one sound looking request and every way to spoil a field of it. */
export function* badRequests(packageName: string): Generator<BadRequest> {
  const seen = new Set<string>()
  for (const type of readRegistry(descriptorSet)) {
    if (type.kind !== 'service' || !type.typeName.startsWith(`${packageName}.`)) continue
    for (const method of type.methods) if (method.methodKind === 'unary') yield* spoilt(method, seen)
  }
}

const secretName = /password|secret|token|ticket|private/i

/** All unary methods of a package that take a secret, with a canary in its place. */
export function* secretRequests(packageName: string, canary: string): Generator<BadRequest> {
  for (const type of readRegistry(descriptorSet)) {
    if (type.kind !== 'service' || !type.typeName.startsWith(`${packageName}.`)) continue
    for (const method of type.methods.filter(({ methodKind }) => methodKind === 'unary')) {
      for (const { names, field } of fieldsOf(method.input)) {
        const isSecret = names.some(name => secretName.test(name)) && field.localName !== 'pageToken'
        const value = field.fieldKind === 'map' ? { password: canary } : canary
        if (!isSecret || (field.fieldKind !== 'map' && field.scalar !== ScalarType.STRING)) continue
        const request = base(method.input)
        put(request, names, value, method.input)
        yield { path: `/${type.typeName}/${method.name}`, field: names.join('.'), what: 'a canary', request }
      }
    }
  }
}

/** A message that several methods take is spoilt in one of them. */
function* spoilt(method: DescMethod, seen: Set<string>): Generator<BadRequest> {
  const path = `/${method.parent.typeName}/${method.name}`
  for (const [index, { names, field }] of [...fieldsOf(method.input)].entries()) {
    const name = `${field.parent.typeName}.${field.localName}`
    if (seen.has(name)) continue
    seen.add(name)
    for (const [what, value] of badValues(field, index)) {
      const request = base(method.input)
      put(request, names, value, method.input)
      const shown = names.map(name => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)).join('.')
      yield { path, field: shown, what, request }
    }
  }
}

type At = { names: string[]; field: DescField }

function* fieldsOf(message: DescMessage, names: string[] = []): Generator<At> {
  for (const field of message.fields) {
    const own = [...names, field.localName]
    yield { names: own, field }
    if (field.fieldKind === 'list' && field.listKind === 'message' && own.length < mostDepth) {
      yield* fieldsOf(field.message, own)
    }
    if (field.fieldKind === 'message' && own.length < mostDepth && !isTime(field)) {
      yield* fieldsOf(field.message, own)
    }
  }
}

const isTime = (field: DescField) => field.message?.typeName.startsWith('google.protobuf.') ?? false

/** Characters that nobody may find in a store, a ledger or a log afterwards. */
export const markers = ['a\ufffdb', 'a\0b', 'a\ufffeb', 'a\u202eb']

const hidden: Array<[string, unknown]> = [
  ...markers.map((marker): [string, unknown] => [JSON.stringify(marker), marker]),
  ['a path', '../../etc/passwd'],
  ['10,000 characters', 'x'.repeat(10_000)]
]

function badValues(field: DescField, index: number): Array<[string, unknown]> {
  if (field.fieldKind === 'list') {
    const item =
      field.listKind === 'message'
        ? {}
        : field.listKind === 'enum'
          ? 1
          : field.scalar === ScalarType.STRING
            ? 'x'
            : 1
    return [['1,100 entries', Array.from({ length: 1100 }, () => item)]]
  }
  if (field.fieldKind === 'enum') return [['a value of the future', 99]]
  if (field.fieldKind !== 'scalar') return []
  switch (field.scalar) {
    case ScalarType.STRING:
      // All of them at every field would take long, and go through the same rules.
      return hidden.filter((_, at) => (at + index) % hidden.length === 0)
    case ScalarType.INT64:
      return [
        ['-1', '-1'],
        ['2^53 + 1', '9007199254740993'],
        ['2^63 - 1', '9223372036854775807']
      ]
    case ScalarType.INT32:
      return [
        ['-1', -1],
        ['2^31 - 1', 2 ** 31 - 1]
      ]
    case ScalarType.UINT32:
      return [['2^32 - 1', 2 ** 32 - 1]]
    case ScalarType.DOUBLE:
      return [
        ['NaN', NaN],
        ['infinity', Infinity],
        ['-1', -1]
      ]
    default:
      return []
  }
}

function base(message: DescMessage, depth = 1): Message {
  const made: Message = {}
  for (const field of message.fields) {
    if (field.oneof && field.oneof.fields[0] !== field) continue
    if (field.fieldKind === 'message' && depth < mostDepth && !isTime(field))
      made[field.localName] = base(field.message, depth + 1)
    if (field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING) {
      made[field.localName] = /(^i|I)d$/.test(field.localName) ? randomUUID() : 'x'
    }
  }
  return made
}

function put(message: Message, names: string[], value: unknown, type: DescMessage): void {
  const [name = '', ...rest] = names
  const field = type.fields.find(({ localName }) => localName === name)
  for (const member of field?.oneof?.fields ?? []) if (member !== field) delete message[member.localName]
  if (rest.length === 0) message[name] = value
  else if (field?.fieldKind === 'message') put((message[name] ??= {}) as Message, rest, value, field.message)
  else if (field?.fieldKind === 'list' && field.listKind === 'message') {
    const [first = base(field.message)] = (message[name] ?? []) as Message[]
    message[name] = [first]
    put(first, rest, value, field.message)
  }
}
