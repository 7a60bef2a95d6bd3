import { randomBytes } from 'node:crypto'
import t from 'tap'
import { RpcClient, type Method } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { Policies } from '../../common/policy.js'
import { seconds } from '../../common/units.js'
import { descriptorSet } from '../../proto/load.js'
import { fakeCoordinator } from '../fakes/fake-coordinator.js'

const never = new AbortController().signal
const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const repeated = (hex: string, times: number) => bytes(hex.repeat(times))

// What a hostile or broken client may put into a message; field numbers as most requests have them.
const inputs: Array<[what: string, message: Buffer]> = [
  ['nothing', Buffer.alloc(0)],
  ['random bytes', randomBytes(500)],
  ['a string longer than the message', bytes('0a ff 41')],
  ['invalid UTF-8', bytes('0a 02 c0 80 12 03 ed a0 80')],
  ['NUL in strings', bytes('0a 01 00 12 01 00 1a 01 00')],
  ['fields of another wire type', bytes('08 01 10 01 18 01')],
  ['field number 0', bytes('02 01 41')],
  ['a stray end of a group', bytes('0c')],
  ['unknown fields', bytes('9a 06 03 61 62 63')],
  ['nesting 5,000 deep', repeated('0a 7f', 5000)],
  ['10,000 empty messages', repeated('12 00', 10_000)],
  ['100,000 empty messages', repeated('12 00', 100_000)],
  ['a map key __proto__', bytes('22 0e 0a 09 5f 5f 70 72 6f 74 6f 5f 5f 12 01 41')],
  ['a varint without end', repeated('ff', 50)]
]

const raw = (path: string): Method<Buffer, Buffer> => ({
  path,
  requestSerialize: buffer => buffer,
  responseDeserialize: buffer => buffer
})

/** Whatever the shape of the method is: all answers, at most three. */
async function drained(client: RpcClient, path: string, message: Buffer): Promise<void> {
  let seen = 0
  for await (const _ of client.stream(raw(path), message, never, seconds(5))) if (++seen === 3) return
}

t.test('every method of the coordinator answers garbage at once, and lives', async t => {
  const { socket, world } = await fakeCoordinator(t)
  using client = new RpcClient({ unixPath: socket }, systemClock)
  const paths = new Policies(descriptorSet).paths().filter(path => path.startsWith('/drover.v1.'))
  const leaks: string[] = []
  for (const path of paths) {
    for (const [what, message] of inputs) {
      const outcome = await drained(client, path, message).catch((error: unknown) => error)
      if (!(outcome instanceof Fault)) continue
      if (/node_modules|\.ts:|\.js:|\/work|at Object|SELECT/.test(outcome.message))
        leaks.push(`${path}: ${outcome.message}`)
      if (outcome.reason === 'DEADLINE') leaks.push(`${path} does not answer ${what}`)
    }
  }
  t.strictSame(leaks, [])
  t.equal(world.vms.size + world.jobs.size, 0, 'nothing was changed')
  world.addVm('web')
  const last = await client.call(raw('/drover.v1.VmService/GetVm'), bytes('0a 03 77 65 62'), never)
  t.ok(last.length > 10)
})
