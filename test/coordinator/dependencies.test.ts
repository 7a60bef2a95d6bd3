import t from 'tap'
import { cycleThrough, inStartOrder, mayStart } from '../../coordinator/dependencies.js'

const edges = (text: string) =>
  text.split(' ').map(pair => {
    const [vmId = '', neededId = ''] = pair.split('>')
    return { vmId, neededId }
  })

const cycles: Array<[string, string, string, string[], string | null]> = [
  ['itself', 'x>y', 'a', ['a'], 'a a'],
  ['each other', 'b>a', 'a', ['b'], 'a b a'],
  ['a long way round', 'b>c c>d d>a', 'a', ['x', 'b'], 'a b c d a'],
  ['a diamond is no circle', 'b>d c>d', 'a', ['b', 'c'], null],
  ['what it needed before does not count any more', 'a>b b>c', 'a', ['c'], null],
  ['a circle of others is not its own', 'b>c c>b', 'a', ['b'], null]
]
for (const [why, known, vm, wanted, way] of cycles) {
  t.test(`a circle of VMs that need each other is found: ${why}`, async t => {
    t.equal(cycleThrough(edges(known), vm, wanted)?.join(' ') ?? null, way)
  })
}

t.test('what is needed starts first, and a circle ends all the same', async t => {
  t.strictSame(inStartOrder(['web', 'db', 'other'], edges('web>db db>storage')), ['db', 'web', 'other'])
  t.strictSame(inStartOrder(['a', 'b'], edges('a>b b>a')), ['b', 'a'])
})

t.test('a VM waits for what is on its way, and is refused without it', async t => {
  const db = { name: 'db', runs: false, isStarting: false }
  t.strictSame(mayStart([{ ...db, runs: true }]), { kind: 'now' })
  t.strictSame(mayStart([{ ...db, isStarting: true }]), { kind: 'wait', names: ['db'] })
  t.strictSame(
    mayStart([
      { ...db, isStarting: true },
      { ...db, name: 'dns' }
    ]),
    { kind: 'refuse', names: ['dns'] }
  )
})
