import t from 'tap'
import { systemClock } from '../../common/clock.js'
import { growth, ownUse, UseWatch, type Use } from '../../common/own-use.js'
import { seconds } from '../../common/units.js'

const use = (change: Partial<Use> = {}): Use => ({
  residentBytes: 2 ** 27,
  openFiles: 50,
  children: 2,
  ...change
})

t.test('a process knows what it uses', async t => {
  const { residentBytes, openFiles, children } = await ownUse()
  t.ok(residentBytes > 2 ** 24 && openFiles > 3 && children >= 0)
})

t.test('what is warm is what is used after ten minutes, and stays that', async t => {
  let now = 0
  const watch = new UseWatch({ ...systemClock, monotonic: () => seconds(now) })
  const look = async (at: number, openFiles: number) => {
    now = at
    await watch.look(async () => use({ openFiles }))
    return [watch.report.warm?.openFiles ?? null, watch.report.latest?.openFiles]
  }
  t.strictSame(await look(0, 20), [null, 20])
  t.strictSame(await look(599, 40), [null, 40])
  t.strictSame(await look(600, 50), [50, 50])
  t.strictSame(await look(9000, 700), [50, 700])
  t.match(growth(watch.report), ['700 open files, and 50 when it was warm'])
})

t.test('more VMs and callers are no leak', async t => {
  const grown = (latest: Partial<Use>) => growth({ warm: use(), latest: use(latest) })
  t.strictSame(grown({ openFiles: 300, children: 24, residentBytes: 2 ** 28 + 2 ** 28 }), [])
  t.match(grown({ children: 25 }), [/^25 child processes/])
  t.match(grown({ residentBytes: 2 ** 30 }), [/^1073741824 bytes of memory/])
  t.strictSame(growth({ warm: null, latest: use({ openFiles: 9999 }) }), [])
})
