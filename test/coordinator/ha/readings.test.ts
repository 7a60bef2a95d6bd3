import t from 'tap'
import { seconds } from '../../../common/units.js'
import {
  hasRenewedSince,
  readLease,
  tellsOfRenewals,
  type LeaseObservation
} from '../../../coordinator/ha/lease-reading.js'
import {
  noteRound,
  nothingRead,
  type PowerReading,
  type PowerState
} from '../../../coordinator/ha/power-reading.js'

const seen = (
  state: LeaseObservation['state'],
  change: Partial<LeaseObservation> = {}
): LeaseObservation => ({
  readerHostId: 'h1',
  storageDomainId: 's1',
  state,
  watched: seconds(600),
  ioTimeout: seconds(10),
  age: seconds(2),
  ...change
})

const leases: Array<[why: string, seen: LeaseObservation[], expected: string]> = [
  ['nobody reads it', [], 'unknown'],
  ['one of two readers sees a renewal', [seen('expired'), seen('live')], 'live'],
  ['all see it expired', [seen('expired'), seen('expired')], 'expired'],
  ['the only reader has not watched long enough', [seen('failing', { watched: seconds(34) })], 'unknown'],
  ['the reader has watched just long enough', [seen('failing', { watched: seconds(35) })], 'failing'],
  ['a new reader saw a renewal all the same', [seen('live', { watched: seconds(1) })], 'live'],
  ['the report is old', [seen('live', { age: seconds(16) })], 'unknown']
]
for (const [why, observations, expected] of leases) {
  t.test(`a lease is ${expected} when ${why}`, async t => {
    t.equal(readLease(observations), expected)
  })
}

const tellers: Array<[why: string, knownSince: number | null, expected: boolean]> = [
  ['its record was known before the host was off', 100, true],
  ['its record is seen for the first time', 101, false],
  ['nothing is known of it', null, false]
]
for (const [why, since, expected] of tellers) {
  t.test(`a report ${expected ? 'tells' : 'does not tell'} of renewals when ${why}`, async t => {
    const knownSince = since === null ? null : seconds(since)
    t.equal(tellsOfRenewals(seconds(100), { knownSince }), expected)
  })
}

const renewals: Array<[why: string, lastRenewal: number | null, expected: boolean]> = [
  ['no renewal was seen', null, false],
  ['the last one came before', 99, false],
  ['one from before was reported late', 115, false],
  ['one came when none from before could be under way', 116, true]
]
for (const [why, lastRenewal, expected] of renewals) {
  t.test(`a host off since 100 s ${expected ? 'is on again' : 'still is'}: ${why}`, async t => {
    const last = lastRenewal === null ? null : seconds(lastRenewal)
    t.equal(hasRenewedSince(seconds(100), last), expected)
  })
}

const since = { offSince: seconds(5), lastOffRead: seconds(6) }
const rounds: Array<[why: string, before: PowerReading, states: PowerState[], expected: PowerReading]> = [
  [
    'the first round that says off begins it',
    nothingRead,
    ['off'],
    { offSince: seconds(9), lastOffRead: seconds(9) }
  ],
  ['the next one goes on', since, ['off'], { ...since, lastOffRead: seconds(9) }],
  ['a round without an answer changes nothing', since, ['unknown'], since],
  ['one device of two is not enough', nothingRead, ['off', 'unknown'], nothingRead],
  ['one device that says on takes it back', since, ['off', 'on'], nothingRead],
  ['a host without devices is never off', since, [], nothingRead]
]
for (const [why, before, states, expected] of rounds) {
  t.test(`proof by power: ${why}`, async t => {
    t.strictSame(noteRound(before, states, seconds(9)), expected)
  })
}
