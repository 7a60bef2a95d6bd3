import t from 'tap'
import { mutantsMark, page, pages, situations } from './docs.js'
import { expectedLog, logText, runScenario, scenario, scenarioNames } from './scenarios.js'

for (const name of scenarioNames()) {
  const one = scenario(name)
  t.test(`${name}: ${one.about.split('\n')[0]?.slice(2)}`, async t => {
    const { findings, log } = await runScenario(one)
    t.strictSame(findings, [])
    t.equal(logText(log), expectedLog(name), `npm run sim -- --scenario ${name} --update`)
  })
}

t.test('the table of situations is made from these scenarios (npm run sim:docs)', async t => {
  t.equal(page(pages.situationsFile), situations())
})

t.test('the rates of the mutants belong to the list of mutants (npm run sim:docs -- --rates)', async t => {
  t.match(page(pages.mutantsFile), `(mark ${mutantsMark()})`)
})
