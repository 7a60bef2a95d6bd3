import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import type { Answer } from '../agent/client.js'
import { skipped } from '../storage/block-world.js'
import { GiB, type ThinAgents, thinAgents, thinVm, until } from './agents-world.js'

// A thin disk whose guest comes to the end of it: its agent is killed around the extension, the storage domain is full.

t.setTimeout(580_000)

/** Somebody else's volume takes all that is free; the answer takes it away again. */
async function fill({ device, storageDomainId }: ThinAgents) {
  const options = ['--driverloaded', 'n', '--devices', device, '--autobackup', 'n']
  const lvm = (...words: string[]) => promisify(execFile)('lvm', [...words, ...options])
  await lvm('lvcreate', '-an', '-Zn', '-l', '100%FREE', '-n', 'filler', storageDomainId)
  return () => lvm('lvremove', '-f', `${storageDomainId}/filler`)
}

t.test(
  'a guest that met the end stands still, and goes on when there is room',
  { skip: skipped },
  async t => {
    const world = await thinAgents()
    t.teardown(() => world.end())
    const { b, volume } = world
    const vm = await thinVm(world, b, await volume(b, 12 * GiB))
    const { guest } = vm
    const endOf = async () => Math.ceil((await vm.seen())!.usage.physical / 2 ** 20)
    const isPaused = async () => /^paused/.test(await guest.state())
    const goesOn = async () => {
      await until('the guest goes on', async () => !(await isPaused()), 120)
      await until('all is written', () => guest.hasWritten(vm.device), 120)
      t.strictSame(await guest.problems(vm.device), [], 'the guest saw no error, and everything is there')
    }
    await vm.armed()

    for (const point of ['disk.extend.begun', 'disk.extend.done']) {
      await t.test(`the agent was killed at ${point}: its next life finds the guest`, async () => {
        const end = await endOf()
        await b.world.agentEnds('SIGKILL')
        await b.world.startAgent({ DROVER_CRASHPOINTS: `kill@${point}` })
        await guest.writeTo(end + 128)
        await b.world.agentEnds()
        await until('the guest met the end', isPaused)
        await b.world.startAgent()
        await goesOn()
        await vm.armed()
      })
    }

    await t.test('the storage domain is full: the VM pauses and is named in an alert', async t => {
      const notes: string[] = []
      const stream = b.coordinator.stream('watch', 'Watch', { kinds: ['vm'] })
      stream.on('data', ({ occurrence }: Answer) => occurrence && notes.push(occurrence['what']))
      stream.on('error', () => {})
      t.teardown(() => stream.cancel())
      const empty = await fill(world)
      await guest.writeTo((await endOf()) + 128)
      await until('the guest met the end', isPaused)
      await until('an alert', async () => notes.includes('disk.storage_full'))
      t.match(await vm.status(), /PAUSED PAUSE_REASON_ENOSPC/)
      await empty()
      await goesOn()
      await until('it is over', async () => notes.includes('disk.storage_relieved'))
    })
  }
)
