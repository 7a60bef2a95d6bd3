import { familyOf, runFamily } from './families.js'
import { mutants, type Mutant } from './mutants.js'

export type Kill = {
  name: string
  family: string
  /** The invariant that it broke; empty when it survived. */
  broke: string
  /** The first seed that found it. */
  seed: number
}

/** Any invariant that breaks is a kill; the one named in the list says what was expected. */
export async function kill({ name, family, rules }: Mutant, seeds: number): Promise<Kill> {
  const where = familyOf(family)
  for (let seed = 0; seed < seeds; seed++) {
    const [finding] = (await runFamily(where, seed, rules)).findings
    if (finding) return { name, family, broke: finding.invariant, seed }
  }
  return { name, family, broke: '', seed: -1 }
}

/** Prints who was found, and answers how many were not. */
export async function killMutants(seeds: number): Promise<number> {
  let survivors = 0
  for (const mutant of mutants) {
    const { broke, seed } = await kill(mutant, seeds)
    if (broke === '') survivors++
    console.log(
      broke === ''
        ? `SURVIVED ${seeds} seeds of ${mutant.family}: ${mutant.name} (${mutant.mustBreak})`
        : `killed by seed ${seed} of ${mutant.family}: ${mutant.name} (${broke}${broke === mutant.mustBreak ? '' : `, expected ${mutant.mustBreak}`})`
    )
  }
  console.log(`${mutants.length - survivors} of ${mutants.length} mutants killed`)
  return survivors
}
