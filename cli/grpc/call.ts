import {
  create,
  fromBinary,
  fromJson,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
  type JsonValue
} from '@bufbuild/protobuf'
import type { Metadata } from '@grpc/grpc-js'
import { usualDeadline, type Method, type RpcClient } from '../../common/client.js'
import { Fault } from '../../common/fault.js'
import type { Reflector } from '../../common/reflector.js'
import type { Seconds } from '../../common/units.js'
import type { Out } from '../print.js'

export type Found = { method: DescMethod; registry: FileRegistry }

/** "drover.v1.VmService/GetVm" (or with a dot) on the server. */
export async function findMethod(reflector: Reflector, name: string): Promise<Found> {
  const at = Math.max(name.lastIndexOf('/'), name.lastIndexOf('.'))
  const [service, own] = [name.slice(0, Math.max(at, 0)), name.slice(at + 1)]
  if (service === '')
    throw new Fault('INVALID_REQUEST', 'give SERVICE/METHOD, for example drover.v1.VmService/GetVm')
  const registry = await reflector.registry([service])
  const method = registry.getService(service)?.methods.find(each => each.name === own)
  if (!method) throw new Fault('NOT_FOUND', `the server has no method ${name}`)
  return { method, registry }
}

/** Calls a method with JSON in and JSON out, whatever its shape. */
export async function callMethod(
  client: RpcClient,
  { method, registry }: Found,
  input: string,
  metadata: Metadata,
  limit: Seconds | null,
  signal: AbortSignal,
  out: Out
): Promise<void> {
  const wire: Method<JsonValue, JsonValue> = {
    path: `/${method.parent.typeName}/${method.name}`,
    requestSerialize: value => Buffer.from(toBinary(method.input, parsed(method.input, value, registry))),
    responseDeserialize: bytes =>
      toJson(method.output, fromBinary(method.output, bytes), { registry, alwaysEmitImplicit: true })
  }
  const requests = jsonValues(input)
  // All requests are checked before the first is sent.
  for (const request of requests) parsed(method.input, request, registry)
  const many = async function* () {
    yield* requests
  }
  const one = () => {
    if (requests.length !== 1) throw new Fault('INVALID_REQUEST', 'this method takes exactly one request')
    return requests[0] ?? {}
  }
  const print = (value: JsonValue) => out.print(JSON.stringify(value, null, 2))
  const printLine = (value: JsonValue) => out.print(JSON.stringify(value))
  switch (method.methodKind) {
    case 'unary':
      return print(await client.call(wire, one(), signal, limit ?? usualDeadline, metadata))
    case 'server_streaming':
      for await (const answer of client.stream(wire, one(), signal, limit, metadata)) printLine(answer)
      return
    case 'client_streaming':
      return print(await client.upload(wire, many(), signal, limit, metadata))
    case 'bidi_streaming':
      for await (const answer of client.bidi(wire, many(), signal, limit, metadata)) printLine(answer)
  }
}

/** An example request with every field, to be filled in. */
export function template({ input }: DescMethod): string {
  return JSON.stringify(exampleOf(input, 0), null, 2)
}

function exampleOf(message: DescMessage, depth: number): JsonValue {
  if (depth > 3) return {}
  const special: Record<string, JsonValue> = {
    'google.protobuf.Timestamp': '2026-01-01T00:00:00Z',
    'google.protobuf.FieldMask': ''
  }
  return (
    special[message.typeName] ??
    Object.fromEntries(message.fields.map(field => [field.jsonName, example(field, depth)]))
  )
}

function example(field: DescField, depth: number): JsonValue {
  const single = (): JsonValue => {
    if (field.message) return exampleOf(field.message, depth + 1)
    if (field.enum) return field.enum.values[0]?.name ?? 0
    return toJsonDefault(field)
  }
  if (field.fieldKind === 'list') return [single()]
  return field.fieldKind === 'map' ? {} : single()
}

function toJsonDefault(field: DescField): JsonValue {
  const empty = toJson(field.parent, create(field.parent), { alwaysEmitImplicit: true }) as Record<
    string,
    JsonValue
  >
  return empty[field.jsonName] ?? ''
}

function parsed(message: DescMessage, value: JsonValue, registry: FileRegistry) {
  try {
    return fromJson(message, value, { registry })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Fault('INVALID_REQUEST', `not a ${message.typeName}: ${why}`, { cause: error })
  }
}

/** JSON objects one after another, or one array of them. */
export function jsonValues(input: string): JsonValue[] {
  const trimmed = input.trim()
  if (trimmed === '') return [{}]
  const whole = tryParse(trimmed)
  if (whole !== undefined) return Array.isArray(whole) ? whole : [whole]
  const values: JsonValue[] = []
  for (const line of trimmed.split('\n').filter(each => each.trim() !== '')) {
    const value = tryParse(line)
    if (value === undefined) throw new Fault('INVALID_REQUEST', `not JSON: ${line.slice(0, 80)}`)
    values.push(value)
  }
  return values
}

function tryParse(input: string): JsonValue | undefined {
  try {
    return JSON.parse(input) as JsonValue
  } catch {
    return undefined
  }
}
