import { Fault } from '../../../common/fault.js'
import type { Hosts } from '../../../coordinator/jobs/hosts.js'
import { FakeWorld, type FakeVm } from './fake-world.js'
import { fixture } from './fixture.js'

// A coordinator's jobs in a process of their own, to be killed. Its hosts live in the parent: they outlive it.
//   argv: path of the store, id of the job. DROVER_CRASHPOINTS says where it dies.

type Answer = { id: number; answer?: object; fault?: object }
type News =
  { hostId: string; vm: FakeVm | null; vmId: string } | { hostId: string; domain: string; health: string }

const [, , path = '', jobId = ''] = process.argv
const waiting = new Map<number, (answer: Answer) => void>()
const world = new FakeWorld()
let last = 0

process.on('message', (message: Answer | News) => {
  if ('id' in message) return waiting.get(message.id)?.(message)
  if ('domain' in message) return world.onStorageDomain(message.hostId, message.domain, message.health)
  world.onVm(message.hostId, message.vm, message.vmId)
})

function ask(
  verb: 'call' | 'task',
  hostId: string,
  method: { path: string; requestSerialize(q: never): Buffer },
  request: object
) {
  return new Promise<object>((resolve, reject) => {
    const id = ++last
    waiting.set(id, ({ answer = {}, fault }) => (fault ? reject(Fault.fromJSON(fault)) : resolve(answer)))
    const bytes = method.requestSerialize(request as never).toString('base64')
    process.send?.({ id, verb, hostId, path: method.path, bytes })
  })
}

const hosts: Hosts = {
  call: (hostId, method, request) => ask('call', hostId, method as never, request as object) as never,
  runTask: (hostId, method, request) => ask('task', hostId, method as never, request as object) as never,
  endTask: async () => {},
  isGone: () => false
}

const house = await fixture({ world, path, hosts })
await house.jobs.untilOver(jobId, AbortSignal.timeout(20_000))
await house.close()
process.disconnect()
