import { fromBinary, type DescMessage, type DescMethod } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, type FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { Policies, readRegistry } from '../../common/policy.js'
import { descriptorSet } from '../../proto/load.js'

const registry = readRegistry(descriptorSet)
const policies = new Policies(descriptorSet)
const ours = (typeName: string) => typeName.startsWith('drover.')

const methods: DescMethod[] = [...registry].flatMap(type => (type.kind === 'service' ? type.methods : []))
const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`

// Without a request id: what has the same effect however often it is repeated, what lives as long as its
// stream, and enrolment, where the single-use token is the request id.
const repeatable = new Set([
  '/drover.agent.v1.TaskService/CancelTask',
  '/drover.agent.v1.TaskService/AcknowledgeTasks',
  '/drover.agent.v1.PeerService/MigrationTunnel',
  '/drover.agent.v1.StorageService/UploadImage',
  '/drover.agent.v1.VmService/OpenConsole',
  '/drover.v1.VmService/OpenConsole',
  '/drover.v1.EnrolmentService/Enrol'
])

t.test('every method has a policy with an action', async t => {
  for (const method of methods) {
    const policy = policies.of(pathOf(method))
    t.ok(policy.roles.size > 0, pathOf(method))
    if (ours(method.parent.typeName)) t.match(policy.action, /^[a-z_]+(\.[a-z_]+)?$/, pathOf(method))
  }
})

t.test('every method that changes something takes a request id', async t => {
  for (const method of methods) {
    const path = pathOf(method)
    if (policies.of(path).readOnly || repeatable.has(path)) continue
    t.ok(hasField(method.input, 'request_id'), path)
  }
})

t.test('every method that changes something for users leaves an audit record', async t => {
  for (const method of methods) {
    const policy = policies.of(pathOf(method))
    const byUsers = policy.roles.has('ADMIN') || policy.roles.has('VIEWER')
    if (byUsers && !policy.readOnly) t.ok(policy.audit, pathOf(method))
  }
})

t.test('readers may call nothing that changes something', async t => {
  for (const method of methods) {
    const policy = policies.of(pathOf(method))
    if (policy.roles.has('VIEWER')) t.ok(policy.readOnly, pathOf(method))
  }
})

t.test('hosts may call of each other nothing that creates or removes anything', async t => {
  const forHosts = methods.map(pathOf).filter(path => policies.of(path).roles.has('HOST'))
  const own = forHosts.filter(path => path.startsWith('/drover.agent.'))
  const verbs = [
    ...['ExtendVolume', 'RefreshVolume', 'HandOverManager', 'LetGoVm', 'AskWhetherVmLeft'],
    'MigrationTunnel'
  ]
  t.strictSame(
    own,
    verbs.map(verb => `/drover.agent.v1.PeerService/${verb}`)
  )
})

t.test('the anonymous reach enrolment and nothing else', async t => {
  const open = methods.map(pathOf).filter(path => policies.of(path).roles.has('ANONYMOUS'))
  t.strictSame(open, ['/drover.v1.EnrolmentService/Enrol'])
})

t.test('the object of a policy is a field of the request', async t => {
  for (const method of methods) {
    const path = policies.of(pathOf(method)).object
    if (path !== '') t.ok(resolves(method.input, path.split('.')), `${pathOf(method)}: ${path}`)
  }
})

t.test('every message, field, enum, value, service and method says what it is', async t => {
  const { file } = fromBinary(FileDescriptorSetSchema, descriptorSet)
  for (const each of file) {
    if (each.name.startsWith('google/protobuf/')) continue
    t.strictSame(uncommented(each), [], each.name)
  }
})

function hasField(message: DescMessage, name: string): boolean {
  return message.fields.some(
    field => field.name === name || (field.message && field.oneof && hasField(field.message, name))
  )
}

function resolves(message: DescMessage, [first = '', ...rest]: string[]): boolean {
  const field = message.fields.find(({ localName }) => localName === first)
  if (!field) return false
  return rest.length === 0 || (field.fieldKind === 'message' && resolves(field.message, rest))
}

/** Paths of declarations without a leading comment: see SourceCodeInfo in descriptor.proto. */
function uncommented(file: FileDescriptorProto): string[] {
  const said = new Map<string, string>()
  for (const { path, leadingComments } of file.sourceCodeInfo?.location ?? []) {
    said.set(path.join('.'), leadingComments.trim())
  }
  const missing: string[] = []
  const need = (path: Array<number>, name: string) => {
    if ((said.get(path.join('.')) ?? '') === '') missing.push(name)
  }
  type Message = FileDescriptorProto['messageType'][number]
  type Enum = FileDescriptorProto['enumType'][number]
  const visitEnum = (path: number[], type: Enum, within: string) => {
    need(path, within + type.name)
    type.value.forEach((value, index) => need([...path, 2, index], `${within}${type.name}.${value.name}`))
  }
  const visitMessage = (path: number[], type: Message, within: string) => {
    if (type.options?.mapEntry) return
    const name = within + type.name
    need(path, name)
    type.field.forEach((field, index) => need([...path, 2, index], `${name}.${field.name}`))
    type.nestedType.forEach((inner, index) => visitMessage([...path, 3, index], inner, `${name}.`))
    type.enumType.forEach((inner, index) => visitEnum([...path, 4, index], inner, `${name}.`))
  }
  file.messageType.forEach((type, index) => visitMessage([4, index], type, ''))
  file.enumType.forEach((type, index) => visitEnum([5, index], type, ''))
  file.service.forEach((service, index) => {
    need([6, index], service.name)
    service.method.forEach((method, at) => need([6, index, 2, at], `${service.name}.${method.name}`))
  })
  return missing
}
