import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { buildChild, preparedWorld, survives } from '../../storage/crash/harness.js'
import { operations } from '../../storage/crash/operations.js'
import type { World } from '../../storage/crash/world.js'

// The crash points that somebody wrote down are those that somebody thought of. Here the process that works on a
// storage domain is killed at its first, second, third … call of each system call that leaves something behind, by
// strace; what follows is the same: recovery, audit, the same request again, its effect there once.

const isFull = process.env['DROVER_CRASH_FULL'] === '1'
t.setTimeout(isFull ? 1_800_000 : 280_000)

/** Of a quick run every so many-th call is one; others come at other places. */
const stride = isFull ? 1 : 4
const calls = [
  'fsync,fdatasync',
  'rename,renameat,renameat2',
  'unlink,unlinkat,rmdir',
  'mkdir',
  'ftruncate,fallocate'
]
const swept = [
  'create a thin volume',
  'take a snapshot',
  'resize a qcow2 volume',
  'merge the leaf',
  'remove and wipe an image'
]

const child = await buildChild()
t.teardown(() => child.remove())

/** Whether it was ended at that call; else it came to its own end before. */
async function endedAt(name: string, call: string, when: number, world: World): Promise<boolean> {
  const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:signal=KILL:when=${when}`]
  const argv = ['-f', '-qq', ...inject, '-o', '/dev/null', process.execPath, child.path, name, world.root]
  // Calls are counted by thread: with one thread for files there is one count.
  const env = { PATH: process.env['PATH'], NODE_ENV: 'test', UV_THREADPOOL_SIZE: '1' }
  const strace = spawn('strace', argv, { env, stdio: 'ignore' })
  const [code] = (await once(strace, 'exit')) as [number | null, string | null]
  // A program that it had started may be the one that was killed: then it fails, and says so.
  return code !== 0
}

for (const [offset, name] of swept.entries()) {
  t.test(`${name} survives being killed at any system call that leaves something behind`, async t => {
    const prepared = await preparedWorld(operations[name]!)
    t.teardown(() => prepared.remove())
    let killed = 0
    for (const call of calls) {
      for (let when = 1 + (isFull ? 0 : offset % stride); ; when += stride) {
        let isOver = false
        await survives(name, prepared, async world => {
          isOver = !(await endedAt(name, call, when, world))
        })
        if (isOver) break
        killed++
      }
    }
    t.ok(killed > 0, `killed at ${killed} calls`)
  })
}
