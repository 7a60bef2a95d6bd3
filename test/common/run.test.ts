import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t from 'tap'
import { commandRunner } from '../../common/run.js'

const run = commandRunner(pino({ level: 'silent' }))
const never = new AbortController().signal

t.test('what a program says and how it ended', async t => {
  t.match(await run('sh', ['-c', 'cat; exit 3'], never, { input: 'x', okCodes: [3] }), {
    code: 3,
    stdout: 'x'
  })
  await t.rejects(run('sh', ['-c', 'echo no >&2; exit 4'], never), {
    reason: 'COMMAND_FAILED',
    message: /no$/
  })
})

t.test('with its group everything that it left behind is ended, and nobody waits for it', async t => {
  const folder = await mkdtemp('/tmp/drover-run-')
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const begun = new AbortController()
  // Like bubblewrap: one in between ends at once, and another one keeps its pipes.
  const script = `sleep 1000 & echo $! >${folder}/pid; wait`
  const running = run('sh', ['-c', script], begun.signal, { endsGroup: true })
  const read = async () => Number(await readFile(`${folder}/pid`, 'utf8').catch(() => '0'))
  while ((await read()) === 0) await new Promise(resolve => setTimeout(resolve, 10))
  begun.abort(new Error('enough'))
  await t.rejects(running, { message: 'enough' })
  const pid = await read()
  // Whoever adopts it may take note of its end later.
  const stateOf = () =>
    readFile(`/proc/${pid}/stat`, 'latin1').then(
      stat => stat.split(') ')[1]?.[0],
      () => 'gone'
    )
  t.match(await stateOf(), /^(gone|Z|X)$/, 'what it had begun is gone too')
})
