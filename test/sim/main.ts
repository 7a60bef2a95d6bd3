import { parseArgs } from 'node:util'
import { runHa, type Run } from './ha-family.js'
import { mutants } from './mutants/ha.js'

// npm run sim -- --all --seeds 2000 --from 0     every family, a range of seeds
// npm run sim -- --scenario ha --seed 17         one run, with its trace
// npm run sim -- --mutants --seeds 2000          how many seeded bugs are found

const families: Record<string, (seed: number) => Run> = { ha: seed => runHa(seed) }

const { values } = parseArgs({
  options: {
    all: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
    scenario: { type: 'string', default: 'ha' },
    seed: { type: 'string' },
    seeds: { type: 'string', default: '2000' },
    from: { type: 'string', default: '0' }
  }
})

function range(name: string, run: (seed: number) => Run): number {
  const from = Number(values.from)
  const count = Number(values.seeds)
  const started = process.hrtime.bigint()
  let bad = 0
  for (let seed = from; seed < from + count; seed++) {
    const [finding] = run(seed).findings
    if (!finding) continue
    bad++
    console.log(`${name} seed ${seed}: ${finding.invariant} at ${finding.time} s: ${finding.text}`)
    console.log(`  npm run sim -- --scenario ${name} --seed ${seed}`)
    if (bad >= 5) break
  }
  const elapsed = Number(process.hrtime.bigint() - started) / 1e9
  console.log(`${name}: ${count} seeds, ${bad} with findings, ${Math.round(count / elapsed)} seeds/s`)
  return bad
}

function killMutants(): number {
  const survivors = mutants.filter(({ name, mustBreak, rules }) => {
    for (let seed = 0; seed < Number(values.seeds); seed++) {
      const [finding] = runHa(seed, rules).findings
      if (finding?.invariant !== mustBreak) continue
      console.log(`killed at seed ${seed}: ${name} (${mustBreak})`)
      return false
    }
    console.log(`SURVIVED ${values.seeds} seeds: ${name} (${mustBreak})`)
    return true
  })
  console.log(`${mutants.length - survivors.length} of ${mutants.length} mutants killed`)
  return survivors.length
}

if (values.mutants) process.exitCode = killMutants() > 0 ? 1 : 0
else if (values.seed !== undefined) {
  const run = families[values.scenario]
  if (!run) throw new Error(`no scenario ${values.scenario}; there are: ${Object.keys(families).join(', ')}`)
  const { trace, findings } = run(Number(values.seed))
  console.log(trace.join('\n'))
  process.exitCode = findings.length > 0 ? 1 : 0
} else {
  const bad = Object.entries(families).map(([name, run]) => range(name, run))
  process.exitCode = bad.some(count => count > 0) ? 1 : 0
}
