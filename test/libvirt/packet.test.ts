import t from 'tap'
import { decodePacket, encodePacket, headerSize, maxPacket, PacketSplitter } from '../../libvirt/packet.js'
import { XdrError } from '../../libvirt/xdr.js'
import { randomNumbers } from './random.js'

const header = { program: 0x20008086, procedure: 66, type: 0, serial: 1, status: 0 }

t.test('a call without arguments is these 28 bytes', async t => {
  const hex = '0000001c' + '20008086' + '00000001' + '00000042' + '00000000' + '00000001' + '00000000'
  t.equal(encodePacket(header).toString('hex'), hex)
  t.strictSame(decodePacket(Buffer.from(hex, 'hex')), { ...header, payload: Buffer.alloc(0) })
})

t.test('packets come out whole and in order, however the stream is cut', async t => {
  const random = randomNumbers(4)
  const packets = Array.from({ length: 50 }, (_, serial) =>
    encodePacket({ ...header, serial }, Buffer.alloc(random(300) * 4, serial))
  )
  const stream = Buffer.concat(packets)
  for (let round = 0; round < 100; round++) {
    const splitter = new PacketSplitter()
    const found: Buffer[] = []
    for (let at = 0; at < stream.length;) {
      const size = 1 + random(round % 2 === 0 ? 40 : 5000)
      found.push(...splitter.push(stream.subarray(at, at + size)))
      at += size
    }
    if (!Buffer.concat(found).equals(stream) || found.length !== 50) t.fail(`round ${round}`)
  }
  t.pass()
})

t.test('a length that no packet can have ends the stream', async t => {
  for (const length of [0, headerSize - 1, maxPacket + 1, 0xffffffff]) {
    const bytes = encodePacket(header)
    bytes.writeUInt32BE(length)
    t.throws(() => new PacketSplitter().push(bytes), XdrError, `${length}`)
  }
})

t.test('another version of a program is refused', async t => {
  const bytes = encodePacket(header)
  bytes.writeUInt32BE(2, 8)
  t.throws(() => decodePacket(bytes), XdrError)
})
