import type { DescFile } from '@bufbuild/protobuf'

/**
 * The comments of a .proto file by full name: "drover.v1.Vm", "drover.v1.Vm.name", "drover.v1.VmService.GetVm".
 * Descriptors address comments by paths of field numbers of descriptor.proto.
 */
export function commentsOf(file: DescFile): Map<string, string> {
  const names = namesByPath(file)
  const found = new Map<string, string>()
  for (const { path, leadingComments } of file.proto.sourceCodeInfo?.location ?? []) {
    const name = names.get(path.join('.'))
    const text = leadingComments.trim().replace(/^ /gm, '')
    if (name !== undefined && text !== '') found.set(name, text)
  }
  return found
}

type Message = DescFile['proto']['messageType'][number]
type Enum = DescFile['proto']['enumType'][number]

function namesByPath({ proto }: DescFile): Map<string, string> {
  const names = new Map<string, string>()
  const note = (path: number[], name: string) => names.set(path.join('.'), name)
  const visitEnum = (path: number[], type: Enum, scope: string) => {
    note(path, `${scope}.${type.name}`)
    type.value.forEach((value, index) => note([...path, 2, index], `${scope}.${type.name}.${value.name}`))
  }
  const visitMessage = (path: number[], type: Message, scope: string) => {
    const name = `${scope}.${type.name}`
    note(path, name)
    type.field.forEach((field, index) => note([...path, 2, index], `${name}.${field.name}`))
    type.oneofDecl.forEach((oneof, index) => note([...path, 8, index], `${name}.${oneof.name}`))
    type.nestedType.forEach((inner, index) => visitMessage([...path, 3, index], inner, name))
    type.enumType.forEach((inner, index) => visitEnum([...path, 4, index], inner, name))
  }
  note([12], proto.package) // the comment above `syntax` tells what the file is about
  proto.messageType.forEach((type, index) => visitMessage([4, index], type, proto.package))
  proto.enumType.forEach((type, index) => visitEnum([5, index], type, proto.package))
  proto.service.forEach((service, index) => {
    note([6, index], `${proto.package}.${service.name}`)
    service.method.forEach((method, at) =>
      note([6, index, 2, at], `${proto.package}.${service.name}.${method.name}`)
    )
  })
  return names
}
