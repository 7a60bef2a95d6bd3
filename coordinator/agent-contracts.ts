import type { DescMessage, FileRegistry } from '@bufbuild/protobuf'
import type { RpcClient } from '../common/client.js'
import { contractHash, lacksOf, unheard, type Lacks } from '../common/contract.js'
import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { readRegistry } from '../common/policy.js'
import { Reflector } from '../common/reflector.js'
import { seconds } from '../common/units.js'
import { agentServices, descriptorSet, standardServices } from '../proto/load.js'

const agentPackage = 'drover.agent.v1'

// What only the newest agents make use of, and others do well without: see the fields' own words.
const dispensable: ReadonlySet<string> = new Set(['coordinator_incarnation'])

type Own = { registry: FileRegistry; hash: string; requests: ReadonlyMap<string, DescMessage> }
let own: Own | null = null

/** Of this coordinator; read when the first agent is heard. */
function ours(): Own {
  return (own ??= read(readRegistry(descriptorSet)))
}

function read(registry: FileRegistry): Own {
  const requests = new Map<string, DescMessage>()
  for (const type of registry) {
    if (type.kind !== 'service' || type.file.proto.package !== agentPackage) continue
    for (const { name, input } of type.methods) requests.set(`/${type.typeName}/${name}`, input)
  }
  return { registry, hash: contractHash(registry, agentPackage), requests }
}

/** The hash of what the agents of this version know. */
export const ownContractHash = (): string => ours().hash

export type ToldContract = { agentVersion: string; contractHash: string }
type Known = { agentVersion: string; lacks: Lacks }

/**
 * What agents of older versions lack. Such an agent would refuse a method in words that nobody understands, and
 * would ignore a field: a VM with a limit would be started without it. So it is not even asked.
 */
export class AgentContracts {
  readonly #known = new Map<string, Known>()

  /** Asks an agent what it knows, by reflection, where its hash is another. Returns what is new to say of it. */
  async learn(
    hostId: string,
    told: ToldContract,
    client: RpcClient,
    signal: AbortSignal,
    log: Logger
  ): Promise<string[] | null> {
    const before = this.lacks(hostId)
    const lacks = told.contractHash === ours().hash ? null : await found(hostId, client, signal, log)
    if (lacks) this.#known.set(hostId, { agentVersion: told.agentVersion, lacks })
    else this.#known.delete(hostId)
    const after = this.lacks(hostId)
    return after.length > 0 && after.join() !== before.join() ? after : null
  }

  /** In words: methods as "VmService/SetVmLimits", fields as "VmSpec.cpu_limits". */
  lacks(hostId: string): string[] {
    const known = this.#known.get(hostId)
    return known ? inWords(known.lacks) : []
  }

  /** The agent of a host must know everything that a request says. */
  throwIfUnheard(hostId: string, hostName: string, path: string, request: object): void {
    const known = this.#known.get(hostId)
    if (!known) return
    const { lacks, agentVersion } = known
    const type = ours().requests.get(path)
    const what = lacks.methods.has(path)
      ? [shortName(path)]
      : type
        ? unheard(request, type, lacks).filter(field => !dispensable.has(field))
        : []
    if (what.length === 0) return
    throw new Fault(
      'AGENT_TOO_OLD',
      `the agent of host ${hostName} (version ${agentVersion}) is too old: it does not know ${what.join(', ')}`,
      { facts: { host: hostId, unknown: what.join(' ') } }
    )
  }
}

/** What an agent lacks by its own description; null also where it does not describe itself. */
async function found(
  hostId: string,
  client: RpcClient,
  signal: AbortSignal,
  log: Logger
): Promise<Lacks | null> {
  try {
    const reflector = new Reflector(client, standardServices, within(seconds(10), signal))
    const names = Object.values(agentServices).map(service => serviceName(service))
    const served = new Set(await reflector.services())
    const theirs = await reflector.registry(names.filter(name => served.has(name)))
    return lacksOf(theirs, ours().registry, agentPackage)
  } catch (error) {
    signal.throwIfAborted()
    log.warn({ err: error, host: hostId }, 'an agent of another version does not tell what it knows')
    return null
  }
}

const serviceName = (service: object) =>
  (Object.values(service)[0] as { path: string }).path.split('/')[1] ?? ''

const shortName = (path: string) => path.slice(`/${agentPackage}.`.length)

function inWords({ methods, fields, values }: Lacks): string[] {
  const { registry } = ours()
  const short = (name: string) => name.split('.').at(-1) ?? name
  const named = (
    numbers: Lacks['fields'],
    nameOf: (type: string, number: number) => string | undefined
  ): string[] =>
    [...numbers].flatMap(([type, all]) =>
      [...all].map(number => nameOf(type, number)).flatMap(name => (name ? [`${short(type)}.${name}`] : []))
    )
  const fieldName = (type: string, number: number) =>
    registry.getMessage(type)?.fields.find(field => field.number === number)?.name
  const valueName = (type: string, number: number) =>
    registry.getEnum(type)?.values.find(value => value.number === number)?.name
  const spoken = named(fields, fieldName).filter(name => !dispensable.has(name.split('.').at(-1) ?? ''))
  return [...[...methods].map(shortName), ...spoken, ...named(values, valueName)].toSorted()
}
