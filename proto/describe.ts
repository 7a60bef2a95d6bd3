import {
  ScalarType,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService
} from '@bufbuild/protobuf'

// Types as text in the language of .proto files.

export type Commented = (name: string) => string | undefined

export function describeService(service: DescService, comment: Commented): string {
  const methods = service.methods.map(method => {
    return `${remark(comment(`${service.typeName}.${method.name}`), '  ')}  ${describeMethod(method)};`
  })
  return `${remark(comment(service.typeName), '')}service ${service.name} {\n${methods.join('\n')}\n}`
}

export function describeMethod({ name, input, output, methodKind }: DescMethod): string {
  const takes = methodKind === 'client_streaming' || methodKind === 'bidi_streaming' ? 'stream ' : ''
  const gives = methodKind === 'server_streaming' || methodKind === 'bidi_streaming' ? 'stream ' : ''
  return `rpc ${name}(${takes}${input.typeName}) returns (${gives}${output.typeName})`
}

export function describeMessage(message: DescMessage, comment: Commented): string {
  const lines: string[] = []
  for (const member of message.members) {
    if (member.kind === 'field') lines.push(line(member, '  ', comment))
    else {
      lines.push(`${remark(comment(`${message.typeName}.${member.name}`), '  ')}  oneof ${member.name} {`)
      for (const field of member.fields) lines.push(line(field, '    ', comment))
      lines.push('  }')
    }
  }
  return `${remark(comment(message.typeName), '')}message ${message.typeName} {\n${lines.join('\n')}\n}`
}

export function describeEnum(type: DescEnum, comment: Commented): string {
  const values = type.values.map(value => {
    return `${remark(comment(`${type.typeName}.${value.name}`), '  ')}  ${value.name} = ${value.number};`
  })
  return `${remark(comment(type.typeName), '')}enum ${type.typeName} {\n${values.join('\n')}\n}`
}

/** The type of a field as .proto files spell it. */
export function typeOf(field: DescField): string {
  if (field.fieldKind === 'map') return `map<${ScalarType[field.mapKey].toLowerCase()}, ${element(field)}>`
  if (field.fieldKind === 'list') return `repeated ${element(field)}`
  const optional = field.proto.proto3Optional ? 'optional ' : ''
  return optional + element(field)
}

function element(field: DescField): string {
  if (field.message) return field.message.typeName
  if (field.enum) return field.enum.typeName
  return field.scalar === undefined ? 'unknown' : ScalarType[field.scalar].toLowerCase()
}

function line(field: DescField, indent: string, comment: Commented): string {
  const said = remark(comment(`${field.parent.typeName}.${field.name}`), indent)
  return `${said}${indent}${typeOf(field)} ${field.name} = ${field.number};`
}

const remark = (text: string | undefined, indent: string) =>
  text === undefined ? '' : `${text.replace(/^/gm, `${indent}// `)}\n`
