import {
  createFileRegistry,
  fromBinary,
  getOption,
  type DescExtension,
  type DescMessage,
  type DescMethod,
  type FileRegistry
} from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

export const callerRoles = ['COORDINATOR', 'HOST', 'LOCAL_ADMIN', 'ADMIN', 'VIEWER', 'ANONYMOUS'] as const
export type CallerRole = (typeof callerRoles)[number]

/** Who may call a method, and what is recorded of the call: the policy option of the proto file. */
export type MethodPolicy = {
  roles: ReadonlySet<CallerRole>
  /** Path of the request field that names the object, in wire spelling ("spec.vmId"); empty where none. */
  object: string
  action: string
  audit: boolean
  readOnly: boolean
}

const extensionName = 'drover.common.v1.policy'

// The order of the enum drover.common.v1.Role.
const roleNumbers = [null, ...callerRoles, 'ANY'] as const

/** The policies of all methods, by path ("/drover.v1.VmService/GetVm"). A method without one is a bug. */
export class Policies {
  readonly #byPath = new Map<string, MethodPolicy>()
  readonly #requests = new Map<string, DescMessage>()

  constructor(descriptorSet: Uint8Array) {
    const registry = readRegistry(descriptorSet)
    const extension = registry.getExtension(extensionName)
    if (!extension) throw new Error(`the descriptors do not have ${extensionName}`)
    for (const method of methodsOf(registry)) {
      const path = `/${method.parent.typeName}/${method.name}`
      this.#byPath.set(path, policyOf(method, extension))
      this.#requests.set(path, method.input)
    }
  }

  of(path: string): MethodPolicy {
    const policy = this.#byPath.get(path)
    if (!policy) throw new Error(`no policy for ${path}`)
    return policy
  }

  /** What a request to the method is made of. */
  requestOf(path: string): DescMessage {
    const found = this.#requests.get(path)
    if (!found) throw new Error(`no method ${path}`)
    return found
  }

  paths(): string[] {
    return [...this.#byPath.keys()]
  }
}

/** Whether a role may call a method. Nobody is let in by accident: ANY does not include the anonymous. */
export const allows = (policy: MethodPolicy, role: CallerRole) => policy.roles.has(role)

/** All files, messages, services and extensions of a descriptor set. */
export function readRegistry(descriptorSet: Uint8Array): FileRegistry {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet))
}

function* methodsOf(registry: FileRegistry): Generator<DescMethod> {
  for (const type of registry) if (type.kind === 'service') yield* type.methods
}

function policyOf(method: DescMethod, extension: DescExtension): MethodPolicy {
  const name = `${method.parent.typeName}.${method.name}`
  if (!method.proto.options) throw new Error(`${name} has no policy`)
  const option = getOption(method, extension) as {
    roles?: number[]
    object?: string
    action?: string
    audit?: boolean
    readOnly?: boolean
  }
  const roles = new Set<CallerRole>()
  for (const number of option.roles ?? []) {
    const role = roleNumbers[number]
    if (!role) throw new Error(`${name} has a policy with an unknown role`)
    if (role === 'ANY') for (const known of callerRoles) roles.add(known)
    else roles.add(role)
    if (role === 'ANY') roles.delete('ANONYMOUS')
  }
  if (roles.size === 0) throw new Error(`${name} has a policy without roles`)
  return {
    roles,
    object: camelCase(option.object ?? ''),
    action: option.action ?? '',
    audit: option.audit ?? false,
    readOnly: option.readOnly ?? false
  }
}

const camelCase = (path: string) => path.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
