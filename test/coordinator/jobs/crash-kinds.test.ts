import t from 'tap'
import { armCrashpoint } from '../../../common/crashpoint.js'
import { kindsOf } from '../../../coordinator/jobs/kinds.js'
import { fixture, ids, storyOf, type Fixture } from './fixture.js'
import { prepare, scenarios, type Scenario } from './scenarios.js'

t.setTimeout(400_000)

process.env['NODE_ENV'] = 'test'

const kinds = kindsOf({} as never, {} as never, {} as never)

type Ending = { house: Fixture; story: string[]; state: string; after: string }

async function play(t: Tap, scenario: Scenario, at: string | null = null): Promise<Ending> {
  const house = await fixture({ start: false })
  t.teardown(house.close)
  const { jobId } = prepare(house, scenario)
  armCrashpoint(at === null ? null : `eio@${at}`)
  house.jobs.start()
  const job = await house.jobs.untilOver(jobId, AbortSignal.timeout(20_000))
  armCrashpoint(null)
  return { house, story: storyOf(house, job), state: job.state, after: house.dump() }
}
type Tap = { teardown(close: () => Promise<void>): void }

/** The same text, with every VM on the same host. */
const withoutPlace = (text: string) =>
  text.replaceAll(/^(vm|running) .*$/gm, line => line.replaceAll(ids.hostB, ids.hostA))

t.test('there is a scenario for every kind of job', async t => {
  const played = new Set(scenarios.map(({ order }) => order().kind))
  t.strictSame([...played].toSorted(), Object.keys(kinds).toSorted())
})

for (const scenario of scenarios) {
  const { kind } = scenario.order()
  t.test(`${scenario.name} (${kind})`, async t => {
    const whole = await play(t, scenario)
    t.equal(whole.state, 'succeeded', whole.story.join('\n'))
    if (!scenario.leavesNothing) t.not(whole.after, whole.house.before, 'something is done')

    for (const { name } of kinds[kind].steps) {
      for (const moment of ['run', 'done']) {
        const point = `job.${kind}.${name}.${moment}`
        const { house, story, state, after } = await play(t, scenario, point)
        const what = `${point}: ${story.join(', ')}`
        if (moment === 'done' && scenario.lasting?.includes(name)) continue
        if (scenario.halfway?.includes(name)) continue
        const seen = (text: string) => (scenario.isAnywhere ? withoutPlace(text) : text)
        if (state === 'undone') t.equal(seen(after), seen(house.before), `nothing is left of ${what}`)
        else t.equal(seen(after), seen(whole.after), `all is done in spite of ${what}`)
      }
    }
  })
}
