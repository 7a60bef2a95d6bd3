import { readFileSync } from 'node:fs'
import { loadSync } from '@grpc/proto-loader'
import { root } from '../root.js'
import { FakeAgent, type Api, type Wire } from './fake-agent.js'

// What an agent spoke before packages were upgraded through it, and before VMs had limits: its proto files and
// their descriptors, both without comments. At the next release: those of the last one.
const folder = `${root}/test/vectors/older-agent`

const loading = { keepCase: false, longs: String, enums: String, defaults: true, oneofs: true }
const names = ['debug', 'host', 'storage', 'task', 'vm', 'watch'] as const

/** Descriptors and definitions of an older version: unknown fields are dropped, unknown methods are refused. */
export function olderApi(): Api {
  const files = names.map(name => `drover/agent/v1/${name}.proto`)
  const definitions = loadSync(files, { ...loading, includeDirs: [folder] })
  const services = Object.fromEntries(
    names.map(name => {
      const own = `${name.charAt(0).toUpperCase()}${name.slice(1)}Service`
      return [name, definitions[`drover.agent.v1.${own}`] as object]
    })
  )
  return { descriptorSet: readFileSync(`${folder}/descriptors.binpb`), services }
}

export const olderAgent = (capabilities: Wire = {}): FakeAgent => new FakeAgent(capabilities, olderApi())
