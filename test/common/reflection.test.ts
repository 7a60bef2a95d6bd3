import { createFileRegistry, create, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { Client, credentials } from '@grpc/grpc-js'
import t from 'tap'
import { coordinatorServices, standardServices } from '../../proto/load.js'
import { coordinatorWorld } from '../coordinator/world.js'

type Answer = {
  listServicesResponse: { service: Array<{ name: string }> } | null
  fileDescriptorResponse: { fileDescriptorProto: Buffer[] } | null
  allExtensionNumbersResponse: { extensionNumber: number[] } | null
  errorResponse: { errorCode: number; errorMessage: string } | null
}
type Ask = (question: object) => Promise<Answer>

const versions = [
  ['v1', standardServices.reflection],
  ['v1alpha', standardServices.reflectionAlpha]
] as const

for (const [version, service] of versions) {
  t.test(`grpc.reflection.${version} describes all that a coordinator serves, with every import`, async t => {
    const world = await coordinatorWorld(t)
    const client = new Client(`unix:${world.config.socket}`, credentials.createInsecure(), {
      'grpc.default_authority': 'localhost'
    })
    t.teardown(() => client.close())
    const info = service['ServerReflectionInfo']!
    const ask: Ask = question =>
      new Promise((resolve, reject) => {
        const call = client.makeBidiStreamRequest(info.path, info.requestSerialize, info.responseDeserialize)
        call.on('data', (answer: Answer) => {
          resolve(answer)
          call.end()
        })
        call.on('error', reject)
        call.write(question)
      })
    const { listServicesResponse } = await ask({ listServices: '' })
    const names = listServicesResponse?.service.map(({ name }) => name) ?? []
    for (const own of Object.values(coordinatorServices))
      t.ok(names.includes(Object.values(own)[0]!.path.split('/')[1]!))
    t.ok(names.includes(`grpc.reflection.${version}.ServerReflection`))
    for (const name of names) {
      const { fileDescriptorResponse } = await ask({ fileContainingSymbol: name })
      const files = (fileDescriptorResponse?.fileDescriptorProto ?? []).map(bytes =>
        fromBinary(FileDescriptorProtoSchema, bytes)
      )
      // Throws where an import is missing.
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(files) }))
      t.ok(registry.getService(name)?.methods.length, name)
    }
    const { errorResponse } = await ask({ fileContainingSymbol: 'drover.v1.Nothing' })
    t.equal(errorResponse?.errorCode, 5)
    const extension = { containingType: 'google.protobuf.MethodOptions', extensionNumber: 50_000 }
    const numbers = await ask({ allExtensionNumbersOfType: extension.containingType })
    const [extensionNumber] = numbers.allExtensionNumbersResponse?.extensionNumber ?? []
    const holder = await ask({ fileContainingExtension: { ...extension, extensionNumber } })
    t.ok(holder.fileDescriptorResponse, 'the policy of methods is an extension that is found')
  })
}

/** Imports before what imports them. */
function inOrder<F extends { name: string; dependency: string[] }>(files: F[]): F[] {
  const byName = new Map(files.map(file => [file.name, file]))
  const ordered = new Set<F>()
  const visit = (name: string) => {
    const file = byName.get(name)
    if (!file) throw new Error(`${name} is not in the answer`)
    if (ordered.has(file)) return
    file.dependency.forEach(visit)
    ordered.add(file)
  }
  for (const { name } of files) visit(name)
  return [...ordered]
}
