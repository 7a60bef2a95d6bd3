import type { DescEnum, DescField, DescFile, DescMessage, DescMethod, DescService } from '@bufbuild/protobuf'
import { readRegistry, Policies, type CallerRole } from '../../common/policy.js'
import { commentsOf } from '../../proto/comments.js'
import { typeOf } from '../../proto/describe.js'
import { cell, heading, page, table } from './markdown.js'

type Comments = Map<string, string>

const packages: Array<[name: string, about: string]> = [
  ['drover.v1', 'What the coordinator offers: to the CLI, to programs of users, and to agents that enrol.'],
  [
    'drover.agent.v1',
    "What each host's agent offers: to the coordinator, to other agents, to root on the host."
  ],
  ['drover.common.v1', 'Types that both use.'],
  ['google.rpc', 'Details of errors, in the trailer `grpc-status-details-bin`.'],
  ['grpc.health.v1', 'The standard health protocol; both daemons serve it.']
]

const roleNames: Record<CallerRole, string> = {
  COORDINATOR: 'coordinator',
  HOST: 'host',
  LOCAL_ADMIN: 'local administrator',
  ADMIN: 'administrator',
  VIEWER: 'viewer',
  ANONYMOUS: 'anybody'
}

/** Every service, message and enum with the comments of the .proto files. */
export function apiPage(descriptorSet: Uint8Array): string {
  const policies = new Policies(descriptorSet)
  const files = [...readRegistry(descriptorSet).files]
  const comments: Comments = new Map(files.flatMap(file => [...commentsOf(file)]))
  const parts = packages.map(([name, about]) => {
    const own = files.filter(file => file.proto.package === name)
    return onePackage(name, about, own, comments, policies)
  })
  return page(
    'API reference',
    'proto/',
    `All methods speak gRPC. Names and types are those of the files in \`proto/\`; a server also describes itself by
reflection: \`drover grpc describe SYMBOL\`. In JSON (proto3 mapping) field names are camelCase, 64-bit numbers are
strings, times are RFC 3339. Every method that changes something takes a \`request_id\`: the same id with the same
contents has one effect and one answer. Errors: see [errors.md](errors.md).

${packages.map(([name, about]) => `- [${name}](#${anchor(`Package ${name}`)}): ${about}`).join('\n')}`,
    parts.join('\n\n')
  )
}

function onePackage(
  name: string,
  about: string,
  files: DescFile[],
  comments: Comments,
  policies: Policies
): string {
  const services = files.flatMap(file => file.services)
  const messages = files.flatMap(file => [...everyMessage(file.messages)])
  const enums = files.flatMap(file => [
    ...file.enums,
    ...[...everyMessage(file.messages)].flatMap(each => each.nestedEnums)
  ])
  return [
    heading(2, `Package ${name}`),
    about,
    ...byName(services).map(each => serviceText(each, comments, policies)),
    ...byName(messages).map(each => messageText(each, comments)),
    ...byName(enums).map(each => enumText(each, comments))
  ].join('\n\n')
}

function* everyMessage(messages: readonly DescMessage[]): Generator<DescMessage> {
  for (const message of messages) {
    yield message
    yield* everyMessage(message.nestedMessages)
  }
}

function serviceText(service: DescService, comments: Comments, policies: Policies): string {
  const methods = service.methods.map(method => methodText(method, comments, policies))
  return [heading(3, service.typeName), comments.get(service.typeName) ?? '', ...methods].join('\n\n')
}

function methodText(method: DescMethod, comments: Comments, policies: Policies): string {
  const { parent, name, input, output, methodKind } = method
  const { roles, action, readOnly } = policies.of(`/${parent.typeName}/${name}`)
  const takes = methodKind === 'client_streaming' || methodKind === 'bidi_streaming' ? 'stream of ' : ''
  const gives = methodKind === 'server_streaming' || methodKind === 'bidi_streaming' ? 'stream of ' : ''
  const who = [...roles].map(role => roleNames[role]).join(', ')
  return `**${parent.name}.${name}**(${takes}${link(input)}) → ${gives}${link(output)}<br>
${comments.get(`${parent.typeName}.${name}`) ?? ''}<br>
_${readOnly ? 'reads' : 'changes'}; action \`${action}\`; callers: ${who}_`
}

function messageText(message: DescMessage, comments: Comments): string {
  const rows = message.fields.map(field => {
    const said = comments.get(`${message.typeName}.${field.name}`) ?? ''
    const oneof = field.oneof ? ` (one of \`${field.oneof.name}\`)` : ''
    return [`\`${field.name}\``, fieldType(field), String(field.number), said + oneof]
  })
  const fields = rows.length === 0 ? 'No fields.' : table(['field', 'type', 'no.', 'meaning'], rows)
  return [heading(4, message.typeName), comments.get(message.typeName) ?? '', fields].join('\n\n')
}

function enumText(type: DescEnum, comments: Comments): string {
  const rows = type.values.map(value => {
    return [`\`${value.name}\``, String(value.number), comments.get(`${type.typeName}.${value.name}`) ?? '']
  })
  return [
    heading(4, type.typeName),
    comments.get(type.typeName) ?? '',
    table(['value', 'no.', 'meaning'], rows)
  ].join('\n\n')
}

function fieldType(field: DescField): string {
  const type = field.message ?? field.enum
  const text = typeOf(field)
  return type && !type.typeName.startsWith('google.protobuf.')
    ? cell(text).replace(type.typeName, link(type))
    : `\`${text}\``
}

const link = ({ typeName }: { typeName: string }) =>
  typeName.startsWith('google.protobuf.') ? typeName : `[${typeName}](#${anchor(typeName)})`

const anchor = (text: string) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9 _-]/g, '')
    .replaceAll(' ', '-')

const byName = <T extends { typeName: string }>(types: T[]) =>
  types.toSorted((a, b) => (a.typeName < b.typeName ? -1 : 1))
