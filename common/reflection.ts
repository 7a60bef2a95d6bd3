import {
  fromBinary,
  toBinary,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type FileRegistry
} from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { status } from '@grpc/grpc-js'
import { readRegistry } from './policy.js'
import { bidi, type Handler } from './rpc.js'

type Question = { kind: string; text: string; number: number; original: object }
type Answer = Record<string, unknown>

/** grpc.reflection, v1 and v1alpha alike: what is served, described from the descriptor set. */
export class Reflection {
  readonly #registry: FileRegistry
  readonly #files = new Map<string, Uint8Array>()
  readonly #served: string[]

  constructor(descriptorSet: Uint8Array, served: string[]) {
    this.#registry = readRegistry(descriptorSet)
    this.#served = served.toSorted()
    // With comments, so that \`describe\` is a reference; without positions, so that an answer stays small.
    for (const file of fromBinary(FileDescriptorSetSchema, descriptorSet).file) {
      if (file.sourceCodeInfo) {
        file.sourceCodeInfo.location = file.sourceCodeInfo.location.filter(
          each => each.leadingComments !== ''
        )
        for (const location of file.sourceCodeInfo.location) location.span = [0, 0, 0]
      }
      this.#files.set(file.name, toBinary(FileDescriptorProtoSchema, file))
    }
  }

  handlers(): Record<string, Handler> {
    return {
      serverReflectionInfo: bidi({
        check: (fields): Question => {
          const kind = fields.choice('messageRequest', questions)
          const extension = fields.optionalMessage('fileContainingExtension', inner => ({
            text: inner.freeText('containingType', 500),
            number: inner.integer('extensionNumber', 0, 2 ** 29)
          }))
          const plain = kind === 'fileContainingExtension' ? '' : fields.freeText(kind, 500)
          const { text = plain, number = 0 } = extension ?? {}
          return { kind, text, number, original: originalOf(kind, text, number) }
        },
        method: (questions, { signal }) => this.#answer(questions, signal)
      })
    }
  }

  async *#answer(questions: AsyncIterable<Question>, signal: AbortSignal): AsyncGenerator<object> {
    for await (const question of questions) {
      signal.throwIfAborted()
      yield { validHost: '', originalRequest: question.original, ...this.#answerOne(question) }
    }
  }

  #answerOne({ kind, text, number }: Question): Answer {
    switch (kind) {
      case 'listServices':
        return { listServicesResponse: { service: this.#served.map(name => ({ name })) } }
      case 'fileByFilename':
        return this.#file(this.#registry.getFile(text.replace(/\.proto$/, '')) ?? this.#byName(text))
      case 'fileContainingSymbol':
        return this.#file(this.#fileOf(text))
      case 'fileContainingExtension':
        return this.#file(this.#extensions(text).find(extension => extension.number === number)?.file)
      case 'allExtensionNumbersOfType': {
        if (this.#registry.get(text)?.kind !== 'message') return unknown
        const numbers = this.#extensions(text).map(extension => extension.number)
        return { allExtensionNumbersResponse: { baseTypeName: text, extensionNumber: numbers } }
      }
      default:
        return { errorResponse: { errorCode: status.UNIMPLEMENTED, errorMessage: 'unknown question' } }
    }
  }

  /** A file with everything it imports; the file itself comes first, as clients expect. */
  #file(file: DescFile | undefined): Answer {
    if (!file) return unknown
    const found = new Map<string, Uint8Array>()
    const visit = ({ proto, dependencies }: DescFile) => {
      if (found.has(proto.name)) return
      const bytes = this.#files.get(proto.name)
      if (bytes) found.set(proto.name, bytes)
      for (const dependency of dependencies) visit(dependency)
    }
    visit(file)
    return { fileDescriptorResponse: { fileDescriptorProto: [...found.values()] } }
  }

  /** Methods, fields and enum values are found by the type that has them. */
  #fileOf(symbol: string): DescFile | undefined {
    for (
      let name = symbol.replace(/^\./, '');
      name !== '';
      name = name.slice(0, Math.max(0, name.lastIndexOf('.')))
    ) {
      const found = this.#registry.get(name)
      if (found && (name === symbol || hasMember(found, symbol.slice(name.length + 1)))) return found.file
    }
    return undefined
  }

  #byName(name: string): DescFile | undefined {
    for (const file of this.#registry.files) if (file.proto.name === name) return file
    return undefined
  }

  #extensions(message: string): DescExtension[] {
    const extendee = (type: { kind: string }): type is DescExtension => type.kind === 'extension'
    return [...this.#registry]
      .filter(extendee)
      .filter(type => (type.extendee as DescMessage).typeName === message)
  }
}

const questions = [
  'fileByFilename',
  'fileContainingSymbol',
  'fileContainingExtension',
  'allExtensionNumbersOfType',
  'listServices'
] as const

const unknown: Answer = { errorResponse: { errorCode: status.NOT_FOUND, errorMessage: 'not found' } }

function originalOf(kind: string, text: string, extensionNumber: number): object {
  return kind === 'fileContainingExtension'
    ? { fileContainingExtension: { containingType: text, extensionNumber } }
    : { [kind]: text }
}

type Member = { name: string }

function hasMember(type: object, name: string): boolean {
  const groups = ['methods', 'fields', 'values', 'oneofs'] as const
  const all = groups.flatMap(group => (type as Partial<Record<string, Member[]>>)[group] ?? [])
  return all.some(member => member.name === name)
}
