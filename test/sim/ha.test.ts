import t from 'tap'
import { runHa } from './ha-family.js'
import { mutants } from './mutants/ha.js'

t.test(
  'no schedule of faults makes two copies of a VM or loses one (200 seeds; npm run sim has more)',
  async t => {
    for (let seed = 0; seed < 200; seed++) t.strictSame(runHa(seed).findings, [], `seed ${seed}`)
  }
)

t.test('the same seed gives the same run', async t => {
  t.strictSame(runHa(7).trace, runHa(7).trace)
})

for (const { name, mustBreak, rules } of mutants) {
  t.test(`the simulator finds the seeded bug: ${name}`, async t => {
    for (let seed = 0; seed < 2000; seed++) {
      if (runHa(seed, rules).findings[0]?.invariant === mustBreak)
        return t.pass(`seed ${seed} breaks ${mustBreak}`)
    }
    return t.fail('2,000 seeds did not find it')
  })
}
