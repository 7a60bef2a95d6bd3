import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'

// Proofs of the design, by Debian's spin: each claim holds, each mutation of a key line has a
// counterexample, and so has the opposite of what must be possible.
const models: Array<[file: string, mutations: string[]]> = [
  ['ha-restart.pml', ['-DNOLEASE', '-DDEAD=2', '-DDOG=6', '-DVACUOUS']],
  ['manager-election.pml', ['-DNOKILL', '-DDEAD=2', '-DDOG=6', '-DVACUOUS']]
]

/** Number of counterexamples that an exhaustive search finds. */
function errors(file: string, mutation: string | null): number {
  const folder = mkdtempSync(join(tmpdir(), 'drover-model-'))
  const run = (command: string, args: string[]) =>
    execFileSync(command, args, { cwd: folder, encoding: 'utf8', timeout: 100_000 })
  try {
    run('spin', [...(mutation === null ? [] : [mutation]), '-a', resolve('test/models', file)])
    run('gcc', ['-O2', '-w', '-o', 'pan', 'pan.c'])
    const [, found] = /errors: (\d+)/.exec(run('./pan', ['-a', '-m200000'])) ?? []
    return Number(found)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

for (const [file, mutations] of models) {
  t.test(`the claim of ${file} holds in every state`, async t => {
    t.equal(errors(file, null), 0)
  })
  for (const mutation of mutations) {
    t.test(`${file} with ${mutation} has a counterexample`, async t => {
      t.equal(errors(file, mutation), 1)
    })
  }
}
