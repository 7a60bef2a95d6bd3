import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { anotherHost } from '../../../coordinator/jobs/another-host.js'
import { newestMachineType } from '../../../coordinator/jobs/machine-type.js'
import { ownerOf, sightingOf, type Owner, type Sighting } from '../../../coordinator/jobs/migration-owner.js'
import { advanced, noProgress, overall } from '../../../coordinator/jobs/progress.js'
import { freeMac, freeSlots, macFrom } from '../../../coordinator/jobs/slots.js'
import { verdictOn } from '../../../coordinator/jobs/verdict.js'

t.test('slots are the lowest free ones, and there are 28', async t => {
  t.strictSame(freeSlots([1, 3], 3), [2, 4, 5])
  t.strictSame(freeSlots([], 28).at(-1), 28)
  t.throws(() => freeSlots([5], 28), Fault)
})

t.test('MAC addresses are locally administered, unicast and taken once', async t => {
  t.equal(macFrom(0), '52:54:00:00:00:00')
  t.equal(macFrom(0.999999999), '52:54:00:ff:ff:ff')
  const chances = [0.5, 0.5, 0.25]
  const taken = [macFrom(0.5)]
  t.equal(
    freeMac(
      mac => taken.includes(mac),
      () => chances.shift() ?? 0
    ),
    macFrom(0.25)
  )
})

t.test('a VM gets the newest machine type that all hosts offer', async t => {
  const old = ['q35', 'pc-q35-6.2', 'pc-q35-7.2', 'pc-i440fx-7.2']
  const young = ['q35', 'pc-q35-7.2', 'pc-q35-8.0', 'pc-q35-10.0']
  t.equal(newestMachineType(young, [old]), 'pc-q35-7.2')
  t.equal(newestMachineType(young, []), 'pc-q35-10.0')
  t.equal(newestMachineType(old, [['pc-q35-9.0']]), 'pc-q35-7.2')
  t.equal(newestMachineType(['q35'], []), '')
})

const sightings: Record<string, Sighting> = {
  runs: { kind: 'runs' },
  leaving: { kind: 'leaving' },
  arriving: { kind: 'arriving' },
  absent: { kind: 'absent' },
  silent: { kind: 'silent' },
  down: { kind: 'down', reason: 'migrated' }
}
const owners: Array<[source: string, destination: string, owner: Owner]> = [
  ['runs', 'absent', 'source'],
  ['runs', 'arriving', 'source'],
  ['runs', 'silent', 'source'],
  ['leaving', 'arriving', 'unclear'],
  ['leaving', 'runs', 'destination'],
  ['down', 'runs', 'destination'],
  ['absent', 'runs', 'destination'],
  ['silent', 'runs', 'destination'],
  ['silent', 'arriving', 'unclear'],
  ['silent', 'absent', 'unclear'],
  ['down', 'arriving', 'unclear'],
  ['down', 'silent', 'unclear'],
  ['down', 'absent', 'nobody'],
  ['absent', 'down', 'nobody']
]
for (const [source, destination, owner] of owners) {
  t.test(`source ${source}, destination ${destination}: the owner is ${owner}`, async t => {
    t.equal(ownerOf(sightings[source]!, sightings[destination]!), owner)
  })
}

t.test('a paused or unresponsive VM is there, one that launches is not yet', async t => {
  for (const status of ['up', 'paused', 'powering_up', 'not_responding', 'powering_down']) {
    t.strictSame(sightingOf(status, ''), { kind: 'runs' })
  }
  t.strictSame(sightingOf('wait_for_launch', ''), { kind: 'arriving' })
})

t.test('a failed start goes to another host, three in all, unless it would fail there too', async t => {
  const tried = { hostId: 'a', onlyHostId: null, excluded: {} }
  const failure = new Fault('LIBVIRT_FAILED', 'no')
  t.strictSame(anotherHost(tried, failure), { a: 'failed here: no' })
  t.equal(anotherHost({ ...tried, excluded: { b: '', c: '' } }, failure), null)
  t.equal(anotherHost({ ...tried, onlyHostId: 'a' }, failure), null)
  t.equal(anotherHost(tried, new Fault('LEASE_HELD', 'no')), null)
})

t.test('progress never goes back and is weighed by steps', async t => {
  const half = advanced(noProgress, { doneBytes: 50, totalBytes: 100, phase: 'copying' })
  t.strictSame(half, { percent: 50, doneBytes: 50, totalBytes: 100, phase: 'copying' })
  t.equal(advanced(half, { percent: 10, doneBytes: 20 }).percent, 50)
  t.equal(advanced(noProgress, { percent: 250, doneBytes: -1 }).percent, 100)
  t.equal(advanced(noProgress, { doneBytes: Number.NaN }).doneBytes, 0)
  const steps = [
    { weight: 1, isDone: true, isRunning: false, progress: noProgress },
    { weight: 8, isDone: false, isRunning: true, progress: half },
    { weight: 1, isDone: false, isRunning: false, progress: noProgress }
  ]
  t.strictSame(overall(steps, noProgress), { ...half, percent: 50 })
  t.equal(overall([], { ...noProgress, percent: 7 }).percent, 7)
})

t.test('a failure is judged by its kind', async t => {
  t.equal(verdictOn(new Fault('HOST_UNREACHABLE', '')), 'again')
  t.equal(verdictOn(new Fault('INTERRUPTED', '')), 'again')
  t.equal(verdictOn(new Fault('LIMIT', '')), 'newAttempt')
  t.equal(verdictOn(new Fault('BUSY', '')), 'newAttempt')
  t.equal(verdictOn(new Fault('STORAGE_DOMAIN_FULL', '')), 'final')
  t.equal(verdictOn(new Fault('WRONG_STATE', '')), 'final')
  t.equal(verdictOn(new TypeError('bug')), 'final')
})
