import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { Ledger } from '../../agent/ledger.js'
import { Requests } from '../../agent/requests.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'

const log = pino({ level: 'silent' })
const requestId = '11111111-1111-4111-8111-111111111111'
const stamp = { requestId, coordinatorEpoch: 3, hostGeneration: 1 }
const request = { stamp, kind: 'Test.Do', content: { size: 1 } }

async function world(path?: string) {
  const file = path ?? join(await mkdtemp('/tmp/drover-requests-'), 'ledger')
  const ledger = await Ledger.open(file, systemClock, log)
  const epochs: number[] = []
  const requests = new Requests(ledger, async epoch => void epochs.push(epoch))
  return { file, ledger, requests, epochs }
}
const remove = (file: string) => rm(join(file, '..'), { recursive: true })

t.test('a hundred requests with one id have one effect and one answer', async t => {
  const { file, ledger, requests, epochs } = await world()
  let effects = 0
  const ask = () => requests.once(request, async () => ({ effect: ++effects }))
  const answers = await Promise.all(Array.from({ length: 100 }, ask))
  t.strictSame(
    new Set(answers.map(answer => JSON.stringify(answer))),
    new Set(['{"effect":1}']),
    'all answers are equal'
  )
  t.equal(effects, 1)
  t.strictSame(epochs, [3], 'the epoch was written down before')
  await ledger.close()
  await remove(file)
})

t.test('an answer is the same after a restart', async t => {
  const first = await world()
  await first.requests.once(request, async () => ({ ip: '10.0.0.1' }))
  await first.ledger.close()
  const second = await world(first.file)
  const answer = await second.requests.once(request, async () => t.fail('the work ran again'))
  t.strictSame(answer, { ip: '10.0.0.1' })
  await second.ledger.close()
  await remove(first.file)
})

t.test('other contents under a used id are refused, running or ended', async t => {
  const { file, ledger, requests } = await world()
  const other = { ...request, content: { size: 2 } }
  const reused = new Fault('REQUEST_ID_REUSED', `request ${requestId} was used before with other contents`)
  let end = () => {}
  const first = requests.once(request, () => new Promise<object>(resolve => (end = () => resolve({}))))
  await t.rejects(
    requests.once(other, async () => ({})),
    reused
  )
  while (!ledger.find(requestId)) await new Promise(setImmediate)
  await new Promise(setImmediate)
  end()
  await first
  await t.rejects(
    requests.once(other, async () => ({})),
    reused
  )
  await ledger.close()
  await remove(file)
})

t.test('a refusal is final; a failure that may pass is not', async t => {
  const { file, ledger, requests } = await world()
  const fail = (fault: Fault) => () => Promise.reject(fault)
  await t.rejects(requests.once(request, fail(new Fault('HOST_UNREACHABLE', 'away'))))
  await t.rejects(
    requests.once(request, fail(new Fault('WRONG_STATE', 'down'))),
    new Fault('WRONG_STATE', 'down')
  )
  await t.rejects(
    requests.once(request, async () => ({})),
    new Fault('WRONG_STATE', 'down')
  )
  await ledger.close()
  await remove(file)
})

t.test('a torn last line is a request that was never accepted', async t => {
  const { file, ledger, requests } = await world()
  await requests.once(request, async () => ({}))
  await ledger.close()
  const text = await readFile(file, 'utf8')
  await writeFile(file, `${text}{"at":1,"id":"22222222-2222-4222-8222-2222`)
  const again = await world(file)
  t.equal(again.ledger.entries().length, 1)
  await again.requests.once({ ...request, stamp: { ...stamp, requestId: 'x' } }, async () => ({}))
  await again.ledger.close()
  const third = await world(file)
  t.strictSame(
    third.ledger.entries().map(({ id }) => id),
    [requestId, 'x']
  )
  await third.ledger.close()
  await remove(file)
})

t.test('without space nothing new is begun, and it recovers by itself', async t => {
  // /dev/full refuses every write; the ledger must neither crash nor pretend.
  const dir = await mkdtemp('/tmp/drover-requests-')
  const file = join(dir, 'ledger')
  const { ledger, requests } = await world(file)
  let isFull = true
  const gated = new Requests(
    {
      find: id => ledger.find(id),
      finish: (id, answer) => ledger.finish(id, answer),
      begin: beginning => {
        if (isFull) throw new Fault('STORE_FULL', 'the ledger of the agent cannot be written')
        return ledger.begin(beginning)
      }
    },
    async () => {}
  )
  let effects = 0
  const work = async () => ({ effect: ++effects })
  await t.rejects(
    gated.once(request, work),
    new Fault('STORE_FULL', 'the ledger of the agent cannot be written')
  )
  t.equal(effects, 0, 'nothing was done')
  isFull = false
  t.strictSame(await gated.once(request, work), { effect: 1 })
  t.ok(requests)
  await ledger.close()
  await rm(dir, { recursive: true })
})
