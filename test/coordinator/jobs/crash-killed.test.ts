import { fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { eachOf } from '../../../coordinator/jobs/hosts.js'
import { kindsOf } from '../../../coordinator/jobs/kinds.js'
import { answer, requestOf, verbOf } from './fake-hosts.js'
import { FakeWorld, type FakeVm } from './fake-world.js'
import { fixture } from './fixture.js'
import type { Job } from '../../../coordinator/store/jobs.js'
import { prepare, scenarios, type Scenario } from './scenarios.js'
import { root } from '../../root.js'

// The process that carries a job on is killed at each of its steps; another one goes on from the journal.

const child = join(root, 'dist/test/coordinator/jobs/killed-child.js')
const atOnce = 3
t.setTimeout(400_000)
const kinds = kindsOf({} as never, {} as never, {} as never)
const chosen = [
  ...['vm.create', 'vm.start', 'vm.migrate', 'vm.delete', 'host.upgrade', 'cluster.upgrade'],
  ...['storage_domain.adopt', 'storage_domain.change_device', 'storage_domain.repair']
]

/** An upgrade has many steps, and a process is started for each: before a step is after the one before. */
const momentsOf = (kind: string) => (kind.endsWith('.upgrade') ? ['done'] : ['run', 'done'])

type Ask = { id: number; verb: string; hostId: string; path: string; bytes: string }

/** Runs the job in a child until that is killed at a point; false where it came to its end before. */
async function killAt(point: string, path: string, jobId: string, world: FakeWorld): Promise<boolean> {
  const env = { ...process.env, NODE_ENV: 'test', DROVER_CRASHPOINTS: `kill@${point}` }
  const process_ = fork(child, [path, jobId], { env, execArgv: [] })
  const tell = (message: object) => void process_.send(message, () => {})
  world.onVm = (hostId: string, vm: FakeVm | null, vmId: string) => tell({ hostId, vm, vmId })
  world.onStorageDomain = (hostId, domain, health) => tell({ hostId, domain, health })
  process_.on('message', ({ id, hostId, path, bytes }: Ask) => {
    try {
      tell({ id, answer: answer(world, hostId, verbOf(path), requestOf(path, Buffer.from(bytes, 'base64'))) })
    } catch (error) {
      tell({ id, fault: error instanceof Fault ? error.toJSON() : { message: String(error) } })
    }
  })
  const [code, signal] = await new Promise<[number | null, string | null]>(resolve =>
    process_.on('exit', (code, signal) => resolve([code, signal]))
  )
  if (signal === 'SIGKILL') return true
  if (code === 0) return false
  throw new Error(`the child ended with ${code ?? signal}`)
}

async function play(scenario: Scenario, point: string | null) {
  const folder = await mkdtemp(join(tmpdir(), 'drover-killed-'))
  const path = join(folder, 'store.db')
  const world = new FakeWorld()
  try {
    const first = await fixture({ world, path, start: false })
    const { jobId } = prepare(first, scenario)
    await first.close()
    const wasKilled = point !== null && (await killAt(point, path, jobId, world))
    const second = await fixture({ world, path })
    const job = await second.jobs.untilOver(jobId, AbortSignal.timeout(20_000))
    const after = second.dump()
    await second.close()
    return { wasKilled, job, story: storyOfJob(job), after, effects: world.effects }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const storyOfJob = ({ state, turnedBack }: Job) => (turnedBack ? `${state}: ${turnedBack.message}` : state)

for (const scenario of scenarios.filter(({ order }) => chosen.includes(order().kind))) {
  const { kind } = scenario.order()
  t.test(`${scenario.name}, whenever the coordinator is killed`, async t => {
    const quiet = await play(scenario, null)
    const points = kinds[kind].steps
      .filter(({ atCreation }) => !atCreation)
      .flatMap(({ name }) => momentsOf(kind).map(moment => `job.${kind}.${name}.${moment}`))
    await eachOf(points, atOnce, async point => {
      const { wasKilled, story, after, effects } = await play(scenario, point)
      t.ok(wasKilled, `killed at ${point}`)
      t.equal(story, 'succeeded', point)
      t.equal(after, quiet.after, `${point}: it ends as if nothing had happened`)
      t.strictSame(effects, quiet.effects, `${point}: everything was done once`)
    })
  })
}
