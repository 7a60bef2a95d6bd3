import fc from 'fast-check'
import t from 'tap'
import { readRegistry } from '../../common/policy.js'
import { withinBounds } from '../../common/wire-bounds.js'
import { agentServices, coordinatorServices, descriptorSet } from '../../proto/load.js'

const registry = readRegistry(descriptorSet)
const type = (name: string) => registry.getMessage(name)!
const { CreateVm } = coordinatorServices.vm
const { Welcome, UpdateDenyList, RunFenceAgent } = agentServices.host
const createVm = type('drover.v1.CreateVmRequest')
const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item)

t.test('what is within bounds is left as it is, to the byte', async t => {
  const bytes = CreateVm.requestSerialize({
    requestId: 'x',
    vm: { name: 'ü', vcpus: 4, memoryBytes: '1024', disks: many(24, { diskId: 'd' }), nics: many(16, {}) }
  })
  t.equal(withinBounds(bytes, createVm), bytes)
  const denied = UpdateDenyList.requestSerialize({ deniedSerials: many(10_000, 'ab') })
  t.equal(withinBounds(denied, type('drover.agent.v1.UpdateDenyListRequest')), denied)
})

t.test('a list without end is cut where it is too long in any case, wherever it lies', async t => {
  const vm = { name: 'after', disks: many(500_000, {}), description: 'kept' }
  const cut = withinBounds(CreateVm.requestSerialize({ requestId: 'r', vm, clone: true }), createVm)
  const read = CreateVm.requestDeserialize(cut)
  t.equal(read.vm?.disks?.length, 1001)
  t.match(read, { requestId: 'r', clone: true, vm: { name: 'after', description: 'kept' } })
  const peers = Welcome.requestSerialize({ hostGeneration: '3', peers: many(100_000, { hostId: 'h' }) })
  const welcome = Welcome.requestDeserialize(withinBounds(peers, type('drover.agent.v1.WelcomeRequest')))
  t.match([welcome.peers?.length, welcome.hostGeneration], [1001, '3'])
  const serials = UpdateDenyList.requestSerialize({ deniedSerials: many(50_000, '') })
  const denied = withinBounds(serials, type('drover.agent.v1.UpdateDenyListRequest'))
  t.equal(UpdateDenyList.requestDeserialize(denied).deniedSerials?.length, 10_001)
  const options = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`o${n}`, '1']))
  const fence = withinBounds(
    RunFenceAgent.requestSerialize({ options }),
    type('drover.agent.v1.RunFenceAgentRequest')
  )
  t.equal(Object.keys(RunFenceAgent.requestDeserialize(fence).options ?? {}).length, 1001)
})

t.test('many lists that are each within bounds are refused when they are too many together', async t => {
  const device = {
    fenceAgent: 'f',
    options: Object.fromEntries(Array.from({ length: 900 }, (_, n) => [`o${n}`, '1']))
  }
  const host = { powerManagement: { devices: many(30, device) } }
  const bytes = coordinatorServices.host.CreateHost.requestSerialize({ host })
  t.throws(() => withinBounds(bytes, type('drover.v1.CreateHostRequest')), RangeError)
})

t.test('a message of 2 MiB that would take seconds to decode is looked through in a moment', async t => {
  const bytes = Buffer.from('2a00'.repeat(2 ** 20), 'hex')
  const began = performance.now()
  t.ok(withinBounds(bytes, type('drover.agent.v1.WelcomeRequest')).length < 2 * 2 ** 20)
  t.ok(performance.now() - began < 2000)
})

t.test('whatever the bytes, it ends, and gives back no more than it got', async t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), array => {
      const bytes = Buffer.from(array)
      return withinBounds(bytes, createVm).length <= bytes.length
    }),
    { numRuns: 3000 }
  )
  t.pass('3,000 random messages')
})
