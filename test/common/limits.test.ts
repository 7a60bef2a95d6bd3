import { randomUUID } from 'node:crypto'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { systemClock } from '../../common/clock.js'
import { Rate } from '../../common/rate.js'
import { unary } from '../../common/rpc.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { never, world } from './world.js'

const { vm } = agentServices
const vmId = randomUUID()
const getVm = unary({ check: fields => fields.uuid('vmId'), method: async id => ({ vmId: id }) })
const faultOf = async (work: Promise<unknown>): Promise<Fault> =>
  work.then(
    () => new Fault('INTERNAL', 'it was not refused'),
    (error: unknown) => error as Fault
  )

t.test('a peer has a bucket of calls, which fills again by itself', async t => {
  let now = 0
  const rate = new Rate({ perSecond: 10, burst: 3 }, { ...systemClock, monotonic: () => seconds(now) })
  const take = (count: number) => Array.from({ length: count }, () => rate.take('a')).join(' ')
  t.equal(take(5), 'ok ok ok began over')
  t.equal(rate.take('b'), 'ok', 'others have their own')
  now = 0.1
  t.equal(take(2), 'ok over', 'still the same flood')
  now = 10
  t.equal(take(4), 'ok ok ok began', 'and a new one later')
})

t.test(
  'who calls far too often is refused for a while; others and the local administrator are not',
  async t => {
    const slow = { perSecond: 0.001, burst: 3 }
    const { as, local, audit } = await world(t, { getVm, pauseVm: getVm }, { rate: slow })
    const [one, other] = [await as('COORDINATOR'), await as('COORDINATOR')]
    for (let n = 0; n < 3; n++) await one.call(vm.GetVm, { vmId }, never)
    t.match(await faultOf(one.call(vm.GetVm, { vmId }, never)), {
      reason: 'LIMIT',
      status: 'RESOURCE_EXHAUSTED'
    })
    t.equal((await faultOf(one.call(vm.PauseVm, { vmId }, never))).reason, 'LIMIT')
    t.match(await other.call(vm.GetVm, { vmId }, never), { vmId })
    for (let n = 0; n < 10; n++) await local().call(vm.GetVm, { vmId }, never)
    t.equal(audit.length, 0, 'records of a flood would be a flood')
  }
)

t.test('an audit that fails in any way does not change the outcome of a call', async t => {
  for (const audit of [
    () => {
      throw new Error('at once')
    },
    async () => {
      throw new Error('later')
    }
  ]) {
    const { local, as } = await world(t, { getVm, pauseVm: getVm }, { audit })
    t.ok(await local().call(vm.PauseVm, { vmId }, never), 'it is answered')
    t.equal((await faultOf(local().call(vm.PauseVm, { vmId: 'x' }, never))).reason, 'INVALID_REQUEST')
    const refused = (await as('VIEWER', 'eve')).call(vm.PauseVm, { vmId }, never)
    t.equal((await faultOf(refused)).reason, 'PERMISSION_DENIED')
  }
})

t.test('a list of a hundred thousand is refused by its name, and nobody waits for it', async t => {
  const startVm = unary({
    check: fields => fields.message('spec', spec => spec.list('disks', 24, disk => disk.uuid('diskId'))),
    method: async () => ({})
  })
  const { local } = await world(t, { startVm, getVm })
  const disks = Array.from({ length: 100_000 }, () => ({}))
  const client = local()
  const { reason, violations } = await faultOf(client.call(vm.StartVm, { spec: { disks } } as never, never))
  t.strictSame([reason, violations.map(({ field }) => field)], ['INVALID_REQUEST', ['spec.disks']])
  t.match(await client.call(vm.GetVm, { vmId }, never), { vmId })
})
