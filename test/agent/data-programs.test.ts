import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { DataPrograms } from '../../agent/data-programs.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { commandRunner } from '../../common/run.js'

const never = new AbortController().signal
const log = pino({ level: 'silent' })
const shell = (text: string) => ({ argv: ['/bin/sh', '-c', text], progress: 'qemu-img' as const })
const hasty = { ...systemClock, after: (_: number, run: () => void) => systemClock.after(0.01 as never, run) }

async function world(t: Test) {
  const directory = await mkdtemp('/tmp/drover-programs-')
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const programs = new DataPrograms({ directory, run: commandRunner(log), clock: hasty, log, asUnits: false })
  return { directory, programs }
}

t.test('progress is told while a program runs, and nothing of it is left', async t => {
  const { programs, directory } = await world(t)
  const seen: number[] = []
  let go = () => {}
  const told = new Promise<void>(resolve => (go = resolve))
  const onPercent = (percent: number) => {
    seen.push(percent)
    go()
  }
  const abort = new AbortController()
  const run = programs.run(
    'task',
    shell('printf "    (42.00/100%%)\\r"; exec sleep 60'),
    onPercent,
    abort.signal
  )
  await told
  abort.abort(new Fault('CANCELLED', 'enough'))
  await t.rejects(run, new Fault('CANCELLED', 'enough'), 'who cancels hears of it')
  t.equal(seen[0], 42)
  t.same(await readdir(directory), [])
})

t.test('a cancelled program is over with all that it started', async t => {
  const { programs } = await world(t)
  const abort = new AbortController()
  // Deaf to what asks, and it holds the pipes of the program that started it.
  const deaf = `sh -c 'trap "" TERM; while :; do sleep 60; done' & wait`
  const begun = shell(`printf "    (42.00/100%%)\r"; ${deaf}`)
  const run = programs.run('task', begun, () => abort.abort(new Fault('CANCELLED', 'enough')), abort.signal)
  await t.rejects(run, new Fault('CANCELLED', 'enough'))
})

const failures = [
  ['echo "No space left on device" >&2; exit 1', 'STORAGE_DOMAIN_FULL'],
  ['echo "acquire done -243"; exit 1', 'LEASE_HELD'],
  ['exit 3', 'COMMAND_FAILED']
] as const
for (const [text, reason] of failures) {
  t.test(`a program that ends with "${text}" is ${reason}`, async t => {
    const { programs } = await world(t)
    const error: unknown = await programs
      .run('task', shell(text), () => {}, never)
      .catch((error: unknown) => error)
    t.ok(Fault.is(error, reason), String(error))
  })
}

t.test(
  'what a program says of its failure is told, without the lines that were meant for its progress',
  async t => {
    const { programs, directory } = await world(t)
    const apt = `${directory}/apt-get`
    const said =
      'pmstatus:alpha:50:Configuring\\nit is not fit\\r\\npmerror:alpha:75:failed\\nE: it ended with 1\\n'
    await writeFile(apt, `#!/bin/sh\nprintf '${said}'; exit 100\n`, { mode: 0o755 })
    const run = programs.run(
      'task',
      { argv: ['/usr/bin/env', 'LC_ALL=C', apt], progress: 'apt' },
      () => {},
      never
    )
    await t.rejects(run, { message: `${apt} failed: it is not fit\nE: it ended with 1` })
  }
)
