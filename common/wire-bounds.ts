import type { DescMessage } from '@bufbuild/protobuf'
import type { ServiceDefinition } from '@grpc/grpc-js'

// What a message costs is known before it is decoded: an empty message inside another takes two bytes on the wire
// and hundreds in memory, a million of them a second of the event loop. A list that is far too long is cut here; what
// is left is still too long, so that the answer names the field and its limit.

/** No list of the contract may be longer; each has a lower limit of its own. */
const most = { messages: 1000, values: 10_000, inAll: 20_000, depth: 100 }

type Budget = { left: number }
type Entry = { number: number; wireType: number; value: number; end: number }

/** The same bytes where everything is within bounds; else without what lies beyond. Throws where it is hopeless. */
export const withinBounds = (bytes: Buffer, type: DescMessage): Buffer =>
  bounded(bytes, type, { left: most.inAll }, 0)

/** The same service, with requests that are looked through before they are decoded. */
export function boundedRequests(
  service: ServiceDefinition,
  requestOf: (path: string) => DescMessage
): ServiceDefinition {
  const bind = (method: ServiceDefinition[string]) => {
    const type = requestOf(method.path)
    const requestDeserialize = (bytes: Buffer) => method.requestDeserialize(withinBounds(bytes, type))
    return { ...method, requestDeserialize }
  }
  return Object.fromEntries(Object.entries(service).map(([name, method]) => [name, bind(method)]))
}

function bounded(bytes: Buffer, type: DescMessage, budget: Budget, depth: number): Buffer {
  const shape = shapeOf(type)
  // The decoder has its own limit of depth.
  if (shape.size === 0 || depth > most.depth) return bytes
  const counts = new Map<number, number>()
  const kept: Buffer[] = []
  let keptTo = 0
  for (let at = 0; at < bytes.length;) {
    const entry = entryAt(bytes, at)
    // What is no message at all is for the decoder to refuse.
    if (entry === null) return bytes
    const { number, wireType, value, end } = entry
    const start = at
    at = end
    const field = wireType === delimited ? shape.get(number) : undefined
    if (!field) continue
    const count = (counts.get(number) ?? 0) + 1
    counts.set(number, count)
    if (count > field.most + 1) {
      kept.push(bytes.subarray(keptTo, start))
      keptTo = end
      continue
    }
    if (field.isCostly && --budget.left < 0) throw new RangeError('the message has too many parts')
    if (field.inner) {
      const whole = bytes.subarray(value, end)
      const cut = bounded(whole, field.inner, budget, depth + 1)
      if (cut === whole) continue
      kept.push(bytes.subarray(keptTo, start), varint(number * 8 + delimited), varint(cut.length), cut)
      keptTo = end
    }
  }
  return kept.length === 0 ? bytes : Buffer.concat([...kept, bytes.subarray(keptTo)])
}

type Shape = ReadonlyMap<number, { most: number; isCostly: boolean; inner: DescMessage | null }>
const shapes = new WeakMap<DescMessage, Shape>()

/** The fields that can be many or hold messages; a map is a list of messages. */
function shapeOf(type: DescMessage): Shape {
  const known = shapes.get(type)
  if (known) return known
  const shape: Shape = new Map(
    type.fields.flatMap(field => {
      if (field.fieldKind === 'scalar' || field.fieldKind === 'enum') return []
      const inner = field.fieldKind === 'map' ? null : (field.message ?? null)
      const isCostly = field.fieldKind === 'map' || inner !== null
      const limit = isCostly ? most.messages : most.values
      return [[field.number, { most: field.fieldKind === 'message' ? Infinity : limit, isCostly, inner }]]
    })
  )
  shapes.set(type, shape)
  return shape
}

const delimited = 2
const fixedLength: Partial<Record<number, number>> = { 1: 8, 5: 4 }

/** One field as it lies on the wire; null where there is none. Groups have no place in this contract. */
function entryAt(bytes: Buffer, start: number): Entry | null {
  const [tag, value] = varintAt(bytes, start)
  const [number, wireType] = [Math.floor(tag / 8), tag % 8]
  const [inner, content] = wireType === 0 || wireType === delimited ? varintAt(bytes, value) : [0, value]
  const length = wireType === 0 ? 0 : wireType === delimited ? inner : fixedLength[wireType]
  const end = content + (length ?? Infinity)
  return number > 0 && end <= bytes.length ? { number, wireType, value: content, end } : null
}

/** A number and where it ends; infinite where it does not. */
function varintAt(bytes: Buffer, start: number): [value: number, end: number] {
  let value = 0
  for (let at = start; at < bytes.length && at < start + 10; at++) {
    const byte = bytes[at] ?? 0
    value += (byte & 127) * 2 ** (7 * (at - start))
    if (byte < 128) return [value, at + 1]
  }
  return [Infinity, Infinity]
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left])
    bytes.push((left % 128) + 128)
  }
}
