import t from 'tap'
import { GiB } from '../../../common/units.js'
import { checkReservation } from '../../../coordinator/forecast/reservation.js'
import { trendOf } from '../../../coordinator/forecast/trend.js'
import { movablesOf } from '../balance/moving.js'
import { cluster, host, load } from '../scheduler/make.js'

const ha = (vmId: string, gib: number) => ({ ...load(vmId, GiB(gib)), isHa: true })
const check = (hosts: Record<string, Array<ReturnType<typeof ha>>>, toLose = 1) => {
  const snapshot = cluster(...Object.entries(hosts).map(([id, running]) => host(id, { running })))
  const haVms = movablesOf(snapshot)
    .filter(({ request }) => request.vm.isHa)
    .map(({ request }) => ({
      hostId: request.currentHostId,
      request: { ...request, purpose: 'restart' as const, currentHostId: null, isRelaxed: true }
    }))
  return checkReservation(snapshot, haVms, toLose)
}

t.test('a cluster with room for the HA VMs of any host may lose one', async t => {
  t.match(check({ a: [ha('x', 4)], b: [ha('y', 4)], c: [] }), { isKept: true })
})

t.test('a loss that would be too much is named, with the VM that finds no room', async t => {
  const { isKept, losses, summary } = check({ a: [ha('x', 10)], b: [ha('y', 10)] })
  t.equal(isKept, false)
  t.strictSame(losses[0], { hostIds: ['a'], hostNames: ['host-a'], unplaced: ['x'] })
  t.equal(summary, 'after the loss of host-a there would be no room for x; so it is for 1 more')
})

t.test('VMs that are not HA take room but are not restarted', async t => {
  const plain = { ...load('p', GiB(10)), isHa: false }
  t.match(check({ a: [plain], b: [plain] }), { isKept: true })
})

t.test('two losses at once are tried in all pairs', async t => {
  const three = { a: [ha('x', 6)], b: [ha('y', 6)], c: [ha('z', 6)] }
  t.match(check(three, 1), { isKept: true })
  t.match(check(three, 2), { isKept: false, losses: [{ hostIds: ['a', 'b'] }, {}, {}] })
})

const day = 86_400_000
t.test('growth is the median of all slopes: one leap does not turn it', async t => {
  const samples = Array.from({ length: 20 }, (_, i) => ({
    time: i * day,
    used: 100 + i + (i === 10 ? 500 : 0),
    total: 219
  }))
  t.match(trendOf(samples), { growthPerDay: 1, daysLeft: 100, historyDays: 19, used: 119 })
})

t.test('what does not grow is never used up, and an hour says nothing', async t => {
  t.match(trendOf([0, 1, 2].map(i => ({ time: i * day, used: 5 - i, total: 10 }))), { daysLeft: null })
  t.match(trendOf([0, 1].map(i => ({ time: i * 3_600_000, used: i, total: 10 }))), { growthPerDay: 0 })
  t.equal(trendOf([]), null)
})
