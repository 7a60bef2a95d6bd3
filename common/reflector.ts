import { createFileRegistry, create, fromBinary, type FileRegistry } from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  type FileDescriptorProto
} from '@bufbuild/protobuf/wkt'
import type { ServiceDefinition } from '@grpc/grpc-js'
import type { Method, RpcClient } from './client.js'
import { Fault } from './fault.js'
import { queue } from './queue.js'

type Answer = {
  listServicesResponse?: { service: Array<{ name: string }> } | null
  fileDescriptorResponse?: { fileDescriptorProto: Uint8Array[] } | null
  errorResponse?: { errorCode: number; errorMessage: string } | null
}
type Info = Method<object, Answer>
type Question = { listServices: '' } | { fileContainingSymbol: string } | { fileByFilename: string }

export type ReflectionServices = { reflection: ServiceDefinition; reflectionAlpha: ServiceDefinition }

/** Asks a server what it serves, over grpc.reflection.v1, or v1alpha where there is no v1. */
export class Reflector {
  readonly #client: RpcClient
  readonly #services: ReflectionServices
  readonly #signal: AbortSignal
  readonly #files = new Map<string, FileDescriptorProto>()
  #version: 'v1' | 'v1alpha' = 'v1'

  constructor(client: RpcClient, services: ReflectionServices, signal: AbortSignal) {
    this.#client = client
    this.#services = services
    this.#signal = signal
  }

  async services(): Promise<string[]> {
    const [answer] = await this.#ask([{ listServices: '' }])
    return (answer?.listServicesResponse?.service ?? []).map(({ name }) => name).toSorted()
  }

  /** Everything that is needed to understand some symbols: their files and all imports. */
  async registry(symbols: string[]): Promise<FileRegistry> {
    let questions: Question[] = symbols.map(fileContainingSymbol => ({ fileContainingSymbol }))
    while (questions.length > 0) {
      for (const answer of await this.#ask(questions)) this.#keep(answer)
      questions = this.#missing().map(fileByFilename => ({ fileByFilename }))
    }
    return createFileRegistry(create(FileDescriptorSetSchema, { file: this.#inOrder() }))
  }

  #keep({ fileDescriptorResponse, errorResponse }: Answer): void {
    if (errorResponse)
      throw new Fault('NOT_FOUND', `the server does not know that: ${errorResponse.errorMessage}`)
    for (const bytes of fileDescriptorResponse?.fileDescriptorProto ?? []) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes)
      this.#files.set(file.name, file)
    }
  }

  #missing(): string[] {
    const wanted = [...this.#files.values()].flatMap(file => file.dependency)
    return [...new Set(wanted)].filter(name => !this.#files.has(name))
  }

  /** Imports before what imports them. */
  #inOrder(): FileDescriptorProto[] {
    const ordered = new Set<FileDescriptorProto>()
    const visit = (name: string) => {
      const file = this.#files.get(name)
      if (!file || ordered.has(file)) return
      file.dependency.forEach(visit)
      ordered.add(file)
    }
    for (const name of this.#files.keys()) visit(name)
    return [...ordered]
  }

  async #ask(questions: Question[]): Promise<Answer[]> {
    try {
      return await this.#askAs(this.#version, questions)
    } catch (error) {
      if (!Fault.is(error, 'UNSUPPORTED') || this.#version === 'v1alpha') throw error
      this.#version = 'v1alpha'
      return this.#askAs('v1alpha', questions)
    }
  }

  async #askAs(version: 'v1' | 'v1alpha', questions: Question[]): Promise<Answer[]> {
    const service = version === 'v1' ? this.#services.reflection : this.#services.reflectionAlpha
    const method = service['ServerReflectionInfo'] as unknown as Info
    const answers: Answer[] = []
    const done = new AbortController()
    const more = queue<Question>(done.signal)
    for (const question of questions) more.push(question)
    // The stream stays open until all answers are here: some servers drop answers after a half-close.
    const requests = async function* () {
      for (;;) yield await more.next()
    }
    const signal = AbortSignal.any([this.#signal, done.signal])
    for await (const answer of this.#client.bidi(method, requests(), signal)) {
      answers.push(answer)
      if (answers.length === questions.length) break
    }
    done.abort()
    return answers
  }
}
