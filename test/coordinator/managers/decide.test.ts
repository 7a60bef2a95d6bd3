import t from 'tap'
import { seconds } from '../../../common/units.js'
import {
  decideManagers,
  patience,
  type Fitness,
  type SeenStorageDomain
} from '../../../coordinator/managers/decide.js'

const fit: Fitness = { kind: 'fit' }
const silent = (after: number): Fitness => ({ kind: 'doubtful', why: 'is silent', for: seconds(after) })
const leaving: Fitness = { kind: 'unfit', why: 'goes into maintenance' }

type Hosts = Record<string, Fitness>
const seen = (
  id: string,
  managerHostId: string | null,
  fitness: Hosts,
  standingHostId: string | null = managerHostId
): SeenStorageDomain => ({ id, managerHostId, standingHostId, fitness: new Map(Object.entries(fitness)) })
const decide = (...storageDomains: SeenStorageDomain[]) =>
  decideManagers({ storageDomains, nameOf: id => id.toUpperCase() })
const choice = (storageDomainId: string, hostId: string | null, why: string | RegExp) => ({
  ...{ storageDomainId, hostId },
  why
})
const both = { a: fit, b: fit }

t.test('where nobody was chosen', async t => {
  t.match(decide(seen('1', null, both)), [choice('1', 'a', 'it manages the fewest')])
  t.match(decide(seen('1', null, both, 'b')), [choice('1', 'b', 'it manages it already')])
  t.match(
    decide(seen('1', null, both), seen('2', null, both), seen('3', null, both)),
    [choice('1', 'a', /./), choice('2', 'b', /./), choice('3', 'a', /./)],
    'they are spread'
  )
  t.match(
    decide(seen('1', 'a', both), seen('2', 'a', both), seen('3', null, both, 'a')),
    [choice('3', 'b', /./)],
    'who stands already is no choice where it has two more than another'
  )
  t.match(
    decide(seen('1', null, { a: leaving, b: silent(0) })),
    [],
    'no host is able, and none was before: nothing to say'
  )
})

t.test('a manager that is well keeps the role', async t => {
  t.strictSame(decide(seen('1', 'b', both)), [])
  t.strictSame(decide(seen('1', 'b', both, 'a')), [], 'whoever stands: the one that was chosen takes it back')
  t.strictSame(decide(seen('1', 'b', both, null)), [], 'although it does not stand yet')
  t.strictSame(decide(seen('1', 'a', both), seen('2', 'b', both), seen('3', 'a', both)), [])
})

t.test('a manager that leaves is followed at once, by whoever manages least', async t => {
  const hosts = { a: leaving, b: fit, c: fit }
  t.match(decide(seen('1', 'a', hosts), seen('2', 'b', hosts)), [
    choice('1', 'c', 'host A goes into maintenance')
  ])
  t.match(
    decide(seen('1', 'a', hosts), seen('2', 'a', hosts)),
    [choice('1', 'b', /maintenance/), choice('2', 'c', /maintenance/)],
    'its storage domains are spread over the others'
  )
})

t.test('a manager in doubt is waited for, but not long', async t => {
  const hosts = (after: number) => ({ a: silent(after), b: fit })
  t.strictSame(decide(seen('1', 'a', hosts(patience - 1))), [])
  t.match(decide(seen('1', 'a', hosts(patience))), [choice('1', 'b', 'host A is silent')])
})

t.test('a host in doubt is nobody to move to', async t => {
  t.match(decide(seen('1', 'a', { a: leaving, b: silent(0), c: fit })), [choice('1', 'c', /./)])
  t.match(decide(seen('1', 'a', { a: leaving, b: silent(0) })), [
    choice('1', null, 'no host that is up has it active')
  ])
})

t.test('a host that is gone for good', async t => {
  t.match(decide(seen('1', 'z', both)), [choice('1', 'a', 'host Z is not there any more')])
})

t.test('a host that came back gets its share, one storage domain after the other', async t => {
  const all = ['1', '2', '3', '4'].map(id => seen(id, 'a', both))
  const first = decide(...all)
  t.match(first, [choice('1', 'b', 'host A manages 4, host B 0')])
  const moved = all.map(each => (each.id === '1' ? { ...each, managerHostId: 'b' } : each))
  const second = decide(...moved)
  t.match(second, [choice('2', 'b', 'host A manages 3, host B 1')])
  const even = moved.map(each => (each.id === '2' ? { ...each, managerHostId: 'b' } : each))
  t.strictSame(decide(...even), [], 'one more than another is even enough')
})

t.test('nothing moves for evenness while something has to move', async t => {
  const hosts = { a: fit, b: fit, c: leaving }
  const all = [seen('1', 'a', hosts), seen('2', 'a', hosts), seen('3', 'a', hosts), seen('4', 'c', hosts)]
  t.match(decide(...all), [choice('4', 'b', /./)])
})

t.test('only a host that has the storage domain counts', async t => {
  const only = { a: fit }
  t.strictSame(decide(seen('1', 'a', only), seen('2', 'a', only), seen('3', 'b', { b: fit })), [])
})

t.test('it comes to rest: no decision follows its own outcome, whatever it began with', async t => {
  const hosts = ['a', 'b', 'c', 'd']
  let state = 7
  const chance = (n: number) => (state = (state * 1103515245 + 12345) % 2 ** 31) % n
  for (let round = 0; round < 300; round++) {
    const fitness = Object.fromEntries(
      hosts.map(id => [id, [fit, fit, silent(chance(40)), leaving][chance(4)] ?? fit])
    )
    let domains = Array.from({ length: 1 + chance(9) }, (_, n) => {
      const manager = chance(5) === 0 ? null : (hosts[chance(4)] ?? null)
      return seen(String(n), manager, fitness, hosts[chance(5)] ?? null)
    })
    let moves = 0
    for (let choices = decide(...domains); choices.length > 0; choices = decide(...domains)) {
      for (const { storageDomainId: id, hostId } of choices) {
        if (hostId !== null && fitness[hostId]?.kind !== 'fit') t.fail('chosen although it is not fit')
        domains = domains.map(each => (each.id === id ? { ...each, managerHostId: hostId } : each))
        moves++
      }
      if (moves > 40) return void t.fail('it does not come to rest')
    }
    const load = (host: string) => domains.filter(({ managerHostId }) => managerHostId === host).length
    const able = hosts.filter(id => fitness[id]?.kind === 'fit').map(load)
    if (Math.max(...able) - Math.min(...able) > 1) return void t.fail('uneven')
  }
  t.pass()
})
