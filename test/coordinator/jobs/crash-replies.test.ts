import t from 'tap'
import { Fault } from '../../../common/fault.js'
import type { Hosts } from '../../../coordinator/jobs/hosts.js'
import { fakeHosts } from './fake-hosts.js'
import { FakeWorld } from './fake-world.js'
import { fixture, ids, storyOf } from './fixture.js'
import { prepare, scenarios, type Scenario } from './scenarios.js'

t.setTimeout(400_000)

// A network that loses every fifth request and every fifth reply, and delivers every fifth request twice.

/** Chance that a failing test can repeat. */
function chances(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function badNetwork(inner: Hosts, chance: () => number): Hosts {
  const lose = (what: string) => {
    if (chance() < 0.2) throw new Fault('HOST_UNREACHABLE', `${what} was lost`)
  }
  return {
    ...inner,
    call: async (...args) => {
      lose('a request')
      const answer = await inner.call(...args)
      lose('a reply')
      return answer
    },
    runTask: async (...args) => {
      lose('a request')
      const isTwice = chance() < 0.2
      const answer = await inner.runTask(...args)
      if (isTwice) await inner.runTask(...args)
      lose('a reply')
      return answer
    }
  }
}

async function play(
  t: { teardown(end: () => Promise<void>): void },
  scenario: Scenario,
  seed: number | null
) {
  const world = new FakeWorld()
  const good = fakeHosts(world)
  const hosts = seed === null ? good : badNetwork(good, chances(seed))
  const house = await fixture({ world, hosts, start: false })
  t.teardown(house.close)
  const { jobId } = prepare(house, scenario)
  house.jobs.start()
  const job = await house.jobs.untilOver(jobId, AbortSignal.timeout(30_000))
  return { state: job.state, story: storyOf(house, job), after: house.dump(), effects: world.effects }
}

const withoutPlace = (text: string) => text.replaceAll(ids.hostB, ids.hostA)

for (const scenario of scenarios) {
  t.test(`${scenario.name}, once, whatever gets lost or comes twice`, async t => {
    const quiet = await play(t, scenario, null)
    for (const seed of [1, 2, 3]) {
      const { state, story, after, effects } = await play(t, scenario, seed)
      t.equal(state, 'succeeded', `seed ${seed}: ${story.join(', ')}`)
      t.equal(withoutPlace(after), withoutPlace(quiet.after), `seed ${seed} ends as intended`)
      t.strictSame(effects.toSorted(), quiet.effects.toSorted(), `seed ${seed} does everything once`)
    }
  })
}
