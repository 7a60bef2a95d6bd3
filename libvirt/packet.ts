import { XdrError } from './xdr.js'

// A packet: u32 length (of all of it, this field too), then six u32: program, version, procedure, type,
// serial, status; then the payload.

export const programs = { REMOTE: 0x20008086, QEMU: 0x20008087, KEEPALIVE: 0x6b656570 } as const
export const packetTypes = { CALL: 0, REPLY: 1, MESSAGE: 2, STREAM: 3, STREAM_HOLE: 6 } as const
export const packetStatus = { OK: 0, ERROR: 1, CONTINUE: 2 } as const
export const keepaliveProcedures = { PING: 1, PONG: 2 } as const

export const headerSize = 28
export const maxPacket = 32 * 2 ** 20 + 4
/** The most data that libvirt puts into one packet of a stream. */
export const maxStreamData = 262_120

export type Header = { program: number; procedure: number; type: number; serial: number; status: number }
export type Packet = Header & { payload: Buffer }

const none = Buffer.alloc(0)

export function encodePacket(
  { program, procedure, type, serial, status }: Header,
  payload: Buffer = none
): Buffer {
  const length = headerSize + payload.length
  if (length > maxPacket) throw new XdrError(`a packet of ${length} bytes, at most ${maxPacket} allowed`)
  const packet = Buffer.allocUnsafe(length)
  packet.writeUInt32BE(length, 0)
  packet.writeUInt32BE(program, 4)
  packet.writeUInt32BE(1, 8)
  packet.writeInt32BE(procedure, 12)
  packet.writeUInt32BE(type, 16)
  packet.writeUInt32BE(serial, 20)
  packet.writeUInt32BE(status, 24)
  payload.copy(packet, headerSize)
  return packet
}

export function decodePacket(packet: Buffer): Packet {
  const version = packet.readUInt32BE(8)
  if (version !== 1) throw new XdrError(`version ${version} of program ${packet.readUInt32BE(4)}`)
  return {
    program: packet.readUInt32BE(4),
    procedure: packet.readInt32BE(12),
    type: packet.readUInt32BE(16),
    serial: packet.readUInt32BE(20),
    status: packet.readUInt32BE(24),
    payload: packet.subarray(headerSize)
  }
}

/** Cuts a byte stream into packets. Chunks are joined once for each packet, not once for each chunk. */
export class PacketSplitter {
  #chunks: Buffer[] = []
  #size = 0
  #wanted = 4

  /** The packets that this chunk completes, as whole byte sequences. */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#size < this.#wanted) return []
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#size)
    const packets: Buffer[] = []
    while (bytes.length >= 4) {
      const length = bytes.readUInt32BE(0)
      if (length < headerSize || length > maxPacket) throw new XdrError(`a packet of ${length} bytes`)
      if (bytes.length < length) break
      packets.push(bytes.subarray(0, length))
      bytes = bytes.subarray(length)
    }
    this.#chunks = bytes.length > 0 ? [bytes] : []
    this.#size = bytes.length
    this.#wanted = bytes.length >= 4 ? bytes.readUInt32BE(0) : 4
    return packets
  }
}
