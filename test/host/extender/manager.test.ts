import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import t from 'tap'
import { systemClock } from '../../../common/clock.js'
import { commandRunner } from '../../../common/run.js'
import { bytes, MiB, seconds } from '../../../common/units.js'
import { DirectPages } from '../../../storage/mailbox/pages.js'
import { MailboxPost } from '../../../storage/mailbox/post.js'
import { sanlockEnvironment, Sanlock } from '../../../storage/sanlock.js'
import { PrivateSanlock } from '../storage/private-sanlock.js'
import type { ChildSettings } from './manager-child.js'
import { root } from '../../root.js'

// The manager role under the real sanlock, io timeout 1 s: taken, given up, taken over from the dead, and from a
// host that stood still and goes on afterwards. A third host asks by the mailbox all the while.

const log = pino({ level: 'silent' })
const storageDomainId = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5c01'
const volumeOf = (n: number) => `d772f1c6-3ebb-43c3-a42e-${String(n).padStart(12, '0')}`
const never = new AbortController().signal
const daemons = await PrivateSanlock.create()
const directory = await mkdtemp('/tmp/drover-manager-')
const running = new Set<ManagerProcess>()
t.teardown(async () => {
  for (const manager of running) manager.signal('SIGKILL')
  await daemons.end()
  await rm(directory, { recursive: true, force: true })
})

class ManagerProcess {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #writes: string
  readonly exited: Promise<number | null>

  constructor(host: string, sanlockHostId: number) {
    this.#writes = `${directory}/writes-${host}`
    const runDirectory = daemons.runDirectory(host)
    const settings: ChildSettings = {
      ...{
        storageDomainId,
        directory,
        sanlockHostId,
        sanlockRunDirectory: runDirectory,
        writes: this.#writes
      }
    }
    const script = `${root}/dist/test/host/extender/manager-child.js`
    const [command = '', ...args] = [
      ...sanlockEnvironment({ mode: 'daemon', runDirectory }),
      ...['sanlock', 'client', 'command', '-c', process.execPath, script],
      JSON.stringify(settings)
    ]
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.exited = once(this.#child, 'exit').then(([code]) => code as number | null)
    createInterface({ input: this.#child.stdout ?? process.stdin }).on('line', line => this.#lines.push(line))
    running.add(this)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** The lease's version, once it manages. */
  async manages(): Promise<number> {
    await until(() => this.#lines.some(line => line.startsWith('manager ')), 200)
    return Number(this.#lines.find(line => line.startsWith('manager '))?.split(' ')[1])
  }

  get isManager(): boolean {
    return this.#lines.some(line => line.startsWith('manager '))
  }

  get joined(): Promise<void> {
    return until(() => this.#lines.includes('joined'), 60)
  }

  get writes(): string[] {
    try {
      return readFileSync(this.#writes, 'utf8').trim().split('\n')
    } catch {
      return []
    }
  }
}

async function until(isSo: () => boolean, limit: number): Promise<void> {
  for (let i = 0; i < limit * 20; i++) {
    if (isSo()) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`not so within ${limit} s`)
}

await Promise.all([daemons.start('host1'), daemons.start('host2')])
for (const [name, size] of Object.entries({ ids: 1, leases: 4, inbox: 16, outbox: 16 })) {
  await writeFile(`${directory}/${name}`, '')
  await truncate(`${directory}/${name}`, MiB(size))
}
const sanlock = new Sanlock(
  { mode: 'daemon', runDirectory: daemons.runDirectory('host1') },
  commandRunner(log),
  systemClock
)
const geometry = { sectorSize: 512 as const, alignment: MiB(1) }
const lockspace = { name: storageDomainId, sanlockHostId: 1, path: `${directory}/ids` }
await sanlock.writeLockspace(lockspace, seconds(1), geometry, never)
const sdm = { lockspace: storageDomainId, name: 'SDM', path: `${directory}/leases`, offset: bytes(2 ** 20) }
await sanlock.writeResource(sdm, geometry, never)

const pages = await Promise.all(['inbox', 'outbox'].map(name => DirectPages.open(`${directory}/${name}`)))
const [inbox, outbox] = pages as [DirectPages, DirectPages]
const post = await MailboxPost.open({ inbox, outbox, sanlockHostId: 3, clock: systemClock, log })
t.teardown(async () => {
  await post.close()
  for (const page of pages) await page.close()
})
const ask = (n: number) => post.request({ storageDomainId, volumeId: volumeOf(n), sizeMiB: 5120 }, never)
const ofVolume = (writes: string[], n: number) => writes.filter(line => line.includes(volumeOf(n)))

let one = new ManagerProcess('host1', 1)
await one.joined
const version = await one.manages()
const two = new ManagerProcess('host2', 2)
await two.joined

t.test('the holder of the lease serves the mailbox; a second host waits', async t => {
  t.equal(await ask(1), true)
  t.equal(ofVolume(one.writes, 1).length, 1)
  t.notOk(two.isManager)
})

t.test('a manager that is killed is followed at once, and what it left is done by the next', async t => {
  one.signal('SIGSTOP')
  const asked = ask(2)
  one.signal('SIGKILL')
  t.equal(await asked, true)
  t.equal(await two.manages(), version + 1)
  t.equal(ofVolume(two.writes, 2).length, 1)
  t.equal(ofVolume(one.writes, 2).length, 0)
})

t.test('a host that stood still while another took over writes nothing when it goes on', async t => {
  one = new ManagerProcess('host1', 1)
  await one.joined
  const before = two.writes.length
  two.signal('SIGSTOP')
  daemons.signal('host2', 'SIGSTOP')
  // The daemon's word counts for 8 x io timeout; 60 s more are the watchdog's.
  const asked = ask(3)
  t.equal(await asked, true)
  t.equal(await one.manages(), version + 2)
  // The worker alone goes on first: its sanlock cannot kill it yet, and it finds a request to serve.
  const more = ask(4)
  two.signal('SIGCONT')
  t.equal(await more, true)
  t.equal(await two.exited, 3, 'it ends by itself')
  t.equal(two.writes.length, before, 'no write after it was overtaken')
  t.equal(ofVolume(one.writes, 3).length, 1)
  t.equal(ofVolume(one.writes, 4).length, 1)
  daemons.signal('host2', 'SIGCONT')
})

t.test('a manager that gives up frees the lease', async t => {
  one.signal('SIGTERM')
  t.equal(await one.exited, 0)
  t.equal(await sanlock.owner(sdm, never), null)
})
