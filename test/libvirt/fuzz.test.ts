import t from 'tap'
import { Connection } from '../../libvirt/connection.js'
import { PacketSplitter } from '../../libvirt/packet.js'
import { procedures as p } from '../../libvirt/procedures.js'
import { XdrError } from '../../libvirt/xdr.js'
import { decodeEvent } from '../../libvirt/events.js'
import { FakeLibvirtd } from './fake-libvirtd.js'
import { mutate } from './mutate.js'
import { randomNumbers } from './random.js'
import { recording } from './recording.js'
import { read } from './round-trip.js'

t.setTimeout(280_000)

const packets = recording().map(({ packet }) => packet)
const any = (random: (below: number) => number) => packets[random(packets.length)] ?? Buffer.alloc(28)

/** The only thing that may come out of bytes that are no message. */
function expectXdrError(work: () => unknown): 'read' | 'refused' {
  try {
    work()
    return 'read'
  } catch (error) {
    if (error instanceof XdrError) return 'refused'
    throw error
  }
}

t.test(
  '120,000 mutated packets are read or refused: no crash, no hang, no memory beyond the packet',
  async t => {
    const random = randomNumbers(1)
    const outcomes = { read: 0, refused: 0 }
    let slowest = 0
    const before = process.memoryUsage().rss
    for (let round = 0; round < 120_000; round++) {
      const mutated = mutate(any(random), any(random), random)
      const begun = performance.now()
      const outcome = expectXdrError(() => new PacketSplitter().push(mutated).map(read))
      slowest = Math.max(slowest, performance.now() - begun)
      outcomes[outcome]++
    }
    t.ok(outcomes.refused > 30_000, `${outcomes.refused} refused`)
    t.ok(outcomes.read > 10_000, `${outcomes.read} read`)
    t.ok(slowest < 1000, `the slowest took ${slowest.toFixed(1)} ms`)
    const grown = (process.memoryUsage().rss - before) / 2 ** 20
    t.ok(grown < 256, `${grown.toFixed(0)} MiB more`)
  }
)

t.test('a count or length of 4 thousand million in a short packet allocates nothing', async t => {
  for (const packet of packets) {
    for (let at = 28; at + 4 <= Math.min(packet.length, 28 + 400); at += 4) {
      const mutated = Buffer.from(packet)
      mutated.writeUInt32BE(0xffffffff, at)
      expectXdrError(() => read(mutated))
    }
  }
  t.pass('all of them ended at once')
})

t.test('random bytes as an event are an event, nothing, or an XdrError', async t => {
  const random = randomNumbers(2)
  for (let round = 0; round < 20_000; round++) {
    const payload = Buffer.from(Array.from({ length: random(96) }, () => random(256)))
    expectXdrError(() => decodeEvent(0x20008086, 300 + random(150), payload))
  }
  t.pass()
})

t.test(
  'a client of a daemon that talks nonsense: every call ends, and the next connection works',
  async t => {
    await using daemon = await FakeLibvirtd.start()
    const random = randomNumbers(3)
    const options = { socketPath: daemon.path, uri: 'qemu:///system' }
    let refused = 0
    for (let round = 0; round < 300; round++) {
      const connection = await Connection.open(options, AbortSignal.timeout(5000))
      daemon.mangle = reply => {
        // Nothing but a wrong length may keep the client waiting for more: then the daemon hangs up.
        const mangled = mutate(reply, any(random), random)
        setImmediate(() => daemon.drop())
        return mangled
      }
      await connection.call(p.connectListAllDomains, { needResults: 1, flags: 0 }).catch(() => refused++)
      daemon.mangle = reply => reply
      connection.close()
    }
    t.ok(refused > 50, `${refused} of 300 refused`)
  }
)
