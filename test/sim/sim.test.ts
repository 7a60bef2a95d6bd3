import t from 'tap'
import { drawRun, families, familyOf, runFamily } from './families.js'
import { production } from './rules.js'
import { shrink } from './shrink.js'

for (const family of families) {
  t.test(`nothing is lost or doubled: ${family.about} (5 seeds; npm run sim has more)`, async t => {
    for (let seed = 0; seed < 5; seed++)
      t.strictSame((await runFamily(family, seed)).findings, [], `seed ${seed}`)
  })
}

t.test('the same seed gives the same run', async t => {
  const family = familyOf('everything')
  t.strictSame((await runFamily(family, 7)).log, (await runFamily(family, 7)).log)
})

t.test('a run that fails is shrunk to what it needs', async t => {
  const family = familyOf('host-loss')
  const rules = { ...production, decideRestarts: () => [] }
  const run = await runFamily(family, 0, rules)
  t.equal(run.findings[0]?.invariant, 'I15')
  const events = await shrink(run, drawRun(family, 0).until, rules)
  t.ok(events.length < run.script.length, `${events.length} of ${run.script.length} events`)
})
