import {
  ScalarType,
  type DescField,
  type DescMessage,
  type DescService,
  type FileRegistry
} from '@bufbuild/protobuf'
import { contentHash } from './ids.js'

// What one end of a connection knows and the other does not. Programs of two versions agree about everything
// that both know: numbers are never used again. What the other end does not know it would ignore in silence. PURE.

/** What the other end lacks, of what this end could say to it. */
export type Lacks = {
  /** Paths, for example "/drover.agent.v1.VmService/SetVmLimits". */
  methods: ReadonlySet<string>
  /** Numbers of the fields, by the full name of their message. */
  fields: ReadonlyMap<string, ReadonlySet<number>>
  /** Numbers of enum values, by the full name of their enum. */
  values: ReadonlyMap<string, ReadonlySet<number>>
}

/** Names the requests that the services of a package take. Two ends with the same hash need to compare nothing. */
export function contractHash(registry: FileRegistry, packageName: string): string {
  const shapes = new Map<string, unknown>()
  const services = servicesOf(registry, packageName)
  for (const type of messagesIn(services)) {
    shapes.set(
      type.typeName,
      type.fields.map(field => [
        field.number,
        field.name,
        field.enum?.values.map(({ number, name }) => [number, name]) ?? field.message?.typeName ?? ''
      ])
    )
  }
  const methods = services.flatMap(service => service.methods.map(method => pathOf(service, method.name)))
  return contentHash({ methods: methods.toSorted(), shapes: Object.fromEntries(shapes) })
}

/** Compares two descriptions of the services of a package; null where nothing is lacking. */
export function lacksOf(theirs: FileRegistry, ours: FileRegistry, packageName: string): Lacks | null {
  const lacks = {
    methods: new Set<string>(),
    fields: new Map<string, Set<number>>(),
    values: new Map<string, Set<number>>()
  }
  const services = servicesOf(ours, packageName)
  for (const service of services) {
    const known = new Set(theirs.getService(service.typeName)?.methods.map(({ name }) => name))
    for (const { name } of service.methods) if (!known.has(name)) lacks.methods.add(pathOf(service, name))
  }
  for (const type of messagesIn(services)) {
    const known = theirs.getMessage(type.typeName)
    // A message that is not known at all: the field that leads to it is not known either.
    if (!known) continue
    note(lacks.fields, type.typeName, type.fields, known.fields)
    for (const { enum: own } of type.fields)
      if (own) note(lacks.values, own.typeName, own.values, theirs.getEnum(own.typeName)?.values ?? [])
  }
  return lacks.methods.size + lacks.fields.size + lacks.values.size === 0 ? null : lacks
}

/** What of a request, in the form of @grpc/proto-loader, would be ignored over there: paths as the proto has them. */
export function unheard(request: object, type: DescMessage, lacks: Lacks, prefix = ''): string[] {
  const found: string[] = []
  const members = request as Record<string, unknown>
  for (const field of type.fields) {
    const value = members[wireKey(field.name)]
    if (saysNothing(value, field)) continue
    const path = `${prefix}${field.name}`
    if (lacks.fields.get(type.typeName)?.has(field.number)) {
      found.push(path)
      continue
    }
    for (const item of itemsOf(value, field)) {
      if (field.message) found.push(...unheard(item as object, field.message, lacks, `${path}.`))
      const number = field.enum?.values.find(({ name }) => name === item)?.number
      if (field.enum && number !== undefined && lacks.values.get(field.enum.typeName)?.has(number))
        found.push(`${path} = ${String(item)}`)
    }
  }
  return [...new Set(found)]
}

/** As @grpc/proto-loader spells a field. */
const wireKey = (name: string) => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const pathOf = (service: DescService, method: string) => `/${service.typeName}/${method}`

const servicesOf = (registry: FileRegistry, packageName: string): DescService[] =>
  [...registry]
    .filter(type => type.kind === 'service')
    .filter(({ file }) => file.proto.package === packageName)
    .toSorted((a, b) => (a.typeName < b.typeName ? -1 : 1))

/** All that can be said in requests: their messages, and the messages in these. */
function messagesIn(services: readonly DescService[]): DescMessage[] {
  const found = new Map<string, DescMessage>()
  const visit = (type: DescMessage) => {
    if (found.has(type.typeName)) return
    found.set(type.typeName, type)
    for (const { message } of type.fields) if (message) visit(message)
  }
  for (const { methods } of services) for (const { input } of methods) visit(input)
  return [...found.values()].toSorted((a, b) => (a.typeName < b.typeName ? -1 : 1))
}

type Numbered = { number: number }

function note(
  into: Map<string, Set<number>>,
  name: string,
  ours: readonly Numbered[],
  theirs: readonly Numbered[]
): void {
  const known = new Set(theirs.map(({ number }) => number))
  const missing = ours.map(({ number }) => number).filter(number => !known.has(number))
  if (missing.length > 0) into.set(name, new Set(missing))
}

/** Whether a value is what its absence would mean as well: then nothing is lost when it is ignored. */
function saysNothing(value: unknown, field: DescField): boolean {
  if (value === undefined || value === null) return true
  if (field.fieldKind === 'list') return (value as readonly unknown[]).length === 0
  if (field.fieldKind === 'map') return Object.keys(value).length === 0
  if (field.fieldKind === 'message') {
    const members = value as Record<string, unknown>
    return field.message.fields.every(inner => saysNothing(members[wireKey(inner.name)], inner))
  }
  if (field.fieldKind === 'enum') return value === 0 || value === field.enum.values[0]?.name
  if (value instanceof Uint8Array) return value.length === 0
  if (field.scalar === ScalarType.STRING) return value === ''
  // Numbers of 64 bits travel as text.
  return value === false || Number(value) === 0
}

function itemsOf(value: unknown, { fieldKind }: DescField): unknown[] {
  if (fieldKind === 'list') return [...(value as readonly unknown[])]
  return fieldKind === 'map' ? Object.values(value as object) : [value]
}
