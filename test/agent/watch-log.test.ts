import t from 'tap'
import { WatchLog } from '../../agent/watch-log.js'

t.test('of one VM at most ten things are told in a minute; others have their own', async t => {
  const log = new WatchLog<object>('life')
  const told = () => log.occurrencesSince(0).occurrences.map(({ key, text }) => `${key}: ${text}`)
  for (let n = 0; n < 500; n++) log.note('vm/a', 'vm.rebooted', 'the guest rebooted', n * 100)
  log.note('vm/b', 'vm.rebooted', 'the guest rebooted', 50_000)
  t.equal(told().length, 11)
  t.match(told()[9], /^vm\/a: the guest rebooted; more of the kind is not told/)
  t.equal(told()[10], 'vm/b: the guest rebooted')
  log.note('vm/a', 'vm.rebooted', 'the guest rebooted', 60_500)
  t.equal(told().length, 12, 'a minute later it is told again')
  t.equal(log.occurrencesSince(0).dropped, 0)
})
