import t from 'tap'
import { StaleStore, type TellingHost } from '../../coordinator/stale-store.js'

function stale(isSet = true) {
  const mark = { isSet }
  const store = new StaleStore({
    isSet: () => mark.isSet,
    set: () => void (mark.isSet = true),
    clear: () => void (mark.isSet = false)
  })
  return { mark, store }
}
const hosts = (...stopped: boolean[]) =>
  stopped.map((isStopped, index) => ({ hostId: `h${index + 1}`, isStopped }))

const settled = (store: StaleStore, all: TellingHost[]) => {
  store.settle(all)
  return store.awaited
}

t.test('a store that was never doubted knows where every VM is', async t => {
  const { store } = stale(false)
  t.ok(store.isKnown('v', false))
  t.strictSame(settled(store, hosts(false)), [])
})

t.test('a restored store does not know a VM without a lease until a host says that it has it', async t => {
  const { store } = stale()
  t.notOk(store.isKnown('v', false))
  t.ok(store.isKnown('v', true), 'its lease guards it')
  store.noteVm('v', 'h1')
  t.ok(store.isKnown('v', false))
})

t.test('the doubt ends, durably, with the last host that tells', async t => {
  const { mark, store } = stale()
  store.noteTold('h1')
  t.strictSame(settled(store, hosts(false, false, true)), ['h2'], 'a stopped host has nothing to tell')
  t.ok(mark.isSet)
  store.noteTold('h2')
  t.strictSame(settled(store, hosts(false, false, true)), [])
  t.notOk(mark.isSet)
  t.ok(store.isKnown('v', false))
})

t.test('a host that refuses puts the store in doubt, and what was seen there', async t => {
  const { mark, store } = stale()
  store.noteVm('v', 'h1')
  store.noteVm('w', 'h2')
  store.noteVm('x', 'h3')
  for (const host of ['h1', 'h2', 'h3']) store.noteTold(host)
  store.noteSilent('h3')
  store.suspect('h1')
  t.notOk(store.isKnown('v', false))
  t.ok(store.isKnown('w', false))
  t.notOk(store.isKnown('x', false), 'who is silent may obey the other one too')
  t.strictSame(settled(store, hosts(true, false)), ['h1'], 'it has to tell whatever was proven of it')
  store.noteTold('h1')
  t.strictSame(settled(store, hosts(true, false)), [])
  store.suspect('h2')
  t.ok(mark.isSet)
  t.ok(store.isStale)
})
