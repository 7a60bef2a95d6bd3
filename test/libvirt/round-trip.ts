import { eventMessages } from '../../libvirt/event-messages.js'
import {
  decodePacket,
  encodePacket,
  keepaliveProcedures,
  packetStatus,
  packetTypes,
  programs,
  type Packet
} from '../../libvirt/packet.js'
import { procedures } from '../../libvirt/procedures.js'
import { virError } from '../../libvirt/structs.js'
import { decode, encode, type Codec } from '../../libvirt/xdr.js'

export type Passage = {
  /** What was said: `call domainSuspend`, `reply domainSuspend`, `event lifecycle`, `unknown call 12`. */
  kind: string
  /** The bytes that our codec makes of what it has read. */
  bytes: Buffer
}

type Known = { name: string; program: number; number: number }
const key = (program: number, number: number) => `${program}/${number}`
const byNumber = <T extends { program: number; number: number }>(table: Record<string, T>) =>
  new Map(Object.entries(table).map(([name, row]) => [key(row.program, row.number), { ...row, name }]))

const calls = byNumber<Known & { args: Codec<unknown>; result: Codec<unknown> }>(named(procedures))
const events = byNumber<Known & { codec: Codec<unknown> }>(named(eventMessages))

/** What a packet says, or an XdrError. */
export function read(bytes: Buffer): unknown {
  const packet = decodePacket(bytes)
  const [, codec] = meaningOf(packet)
  return codec === null ? null : decode(codec, packet.payload)
}

/** Reads a packet with our table and writes it again. Throws when it cannot be read. */
export function roundTrip(bytes: Buffer): Passage {
  const packet = decodePacket(bytes)
  const [kind, codec] = meaningOf(packet)
  const payload = codec === null ? packet.payload : encode(codec, decode(codec, packet.payload))
  return { kind, bytes: encodePacket(packet, payload) }
}

/** The codec is null for bytes that have no structure. */
function meaningOf({ program, procedure, type, status, payload }: Packet): [string, Codec<unknown> | null] {
  if (program === programs.KEEPALIVE) return [`keepalive ${nameOfKeepalive(procedure)}`, null]
  const call = calls.get(key(program, procedure))
  const event = events.get(key(program, procedure))
  const name = call?.name ?? event?.name
  if (type === packetTypes.MESSAGE && event) return [`event ${event.name}`, event.codec]
  if (name === undefined || !call) return [`unknown ${type} ${procedure}`, null]
  if (type === packetTypes.CALL) return [`call ${name}`, call.args]
  if (type === packetTypes.REPLY && status === packetStatus.ERROR) return ['error', virError]
  if (type === packetTypes.REPLY) return [`reply ${name}`, call.result]
  if (type === packetTypes.STREAM && status === packetStatus.ERROR && payload.length > 0) {
    return ['stream error', virError]
  }
  return [`stream ${status}`, null]
}

const nameOfKeepalive = (procedure: number) => (procedure === keepaliveProcedures.PING ? 'ping' : 'pong')

function named<T extends object>(table: Record<string, T>): Record<string, T & { name: string }> {
  return Object.fromEntries(Object.entries(table).map(([name, row]) => [name, { ...row, name }]))
}
