import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t from 'tap'
import { DataPrograms } from '../../../agent/data-programs.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { commandRunner } from '../../../common/run.js'

// Data programs as units of a real systemd: they outlive who started them.

const hasSystemd = existsSync('/run/systemd/system')
const options = hasSystemd ? {} : { skip: 'systemd does not run here; the lab does this on its hosts' }
const never = new AbortController().signal
const shell = (text: string) => ({ argv: ['/bin/sh', '-c', text], progress: 'qemu-img' as const })

t.test('a program goes on when the agent leaves, and is found again by its name', options, async t => {
  const directory = await mkdtemp('/tmp/drover-units-')
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const log = pino({ level: 'silent' })
  const agent = () => new DataPrograms({ directory, run: commandRunner(log), clock: systemClock, log })
  const program = shell(`sleep 2; echo ran >> ${directory}/ran`)
  const leave = new AbortController()
  const first = agent().run('a1', program, () => {}, leave.signal)
  systemClock.after(0.5 as never, () => leave.abort(new Fault('INTERRUPTED', 'the agent ends')))
  await t.rejects(first, /the agent ends/)
  await agent().run('a1', program, () => {}, never)
  t.equal(await readFile(`${directory}/ran`, 'utf8'), 'ran\n', 'it ran once')
})
