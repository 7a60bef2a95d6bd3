import t from 'tap'
import { roundTrip } from './round-trip.js'
import { recording } from './recording.js'

t.test('every recorded packet is read, and written again byte for byte', async t => {
  for (const { kind, packet } of recording()) {
    const ours = roundTrip(packet)
    t.equal(ours.kind, kind)
    t.equal(ours.bytes.toString('hex'), packet.toString('hex'), kind)
  }
})

t.test('the recording covers calls, replies, events, errors, streams and keepalives', async t => {
  const kinds = recording().map(({ kind }) => kind)
  const count = (prefix: string) => kinds.filter(kind => kind.startsWith(prefix)).length
  t.ok(kinds.length >= 400, `${kinds.length} kinds`)
  for (const [prefix, least] of [
    ['call ', 200],
    ['reply ', 150],
    ['event ', 8],
    ['error', 1],
    ['stream', 2],
    ['keepalive', 2]
  ] as const) {
    t.ok(count(prefix) >= least, `${count(prefix)} of ${prefix}`)
  }
})
