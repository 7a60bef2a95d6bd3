import { headerSize } from '../../libvirt/packet.js'

type Random = (below: number) => number

const extremes = [0, 1, 0x7f, 0x7fffffff, 0x80000000, 0xffffffff, 0x01000000, 0x00400000]

/** A packet with something wrong in it: bits, lengths, a missing end, too much at the end, or two halves. */
export function mutate(packet: Buffer, other: Buffer, random: Random): Buffer {
  const kinds = [flipBits, setWord, cutEnd, addEnd, splice]
  let mutated: Buffer = Buffer.from(packet)
  for (let times = 1 + random(3); times > 0; times--) {
    const kind = kinds[random(kinds.length)] ?? flipBits
    mutated = kind(mutated, other, random)
  }
  // The length is right again, except sometimes: the splitter has its own test of that.
  if (mutated.length >= 4 && random(8) > 0) mutated.writeUInt32BE(mutated.length, 0)
  return mutated
}

function flipBits(packet: Buffer, _: Buffer, random: Random): Buffer {
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(packet.length)
    packet[at] = (packet[at] ?? 0) ^ (1 << random(8))
  }
  return packet
}

/** Lengths and counts are words: the worst that can be put there. */
function setWord(packet: Buffer, _: Buffer, random: Random): Buffer {
  const words = Math.floor(packet.length / 4)
  if (words > 0) packet.writeUInt32BE(extremes[random(extremes.length)] ?? 0, random(words) * 4)
  return packet
}

const cutEnd = (packet: Buffer, _: Buffer, random: Random): Buffer =>
  Buffer.from(packet.subarray(0, headerSize + random(Math.max(1, packet.length - headerSize))))

const addEnd = (packet: Buffer, _: Buffer, random: Random): Buffer =>
  Buffer.concat([packet, Buffer.alloc(1 + random(64), random(256))])

/** The header of one packet over the payload of another. */
const splice = (packet: Buffer, other: Buffer): Buffer =>
  Buffer.concat([packet.subarray(0, headerSize), other.subarray(headerSize)])
