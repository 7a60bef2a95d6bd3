import { status } from '@grpc/grpc-js'
import { execFileSync } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Refused } from './client.js'
import { AgentWorld, diskless } from './world.js'

// The local disk of the agent is full: mutations are refused, reads and running VMs go on, and it recovers by
// itself when there is space again.

const mounted: string[] = []
const world = await AgentWorld.start({}, {}, async state => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', state])
  mounted.push(state)
})
t.teardown(async () => {
  await world.agentEnds('SIGKILL')
  for (const path of mounted) execFileSync('umount', ['-l', path])
  await world[Symbol.asyncDispose]()
})
const { client } = world
const [running, other] = [diskless(), diskless()]
const balloon = join(world.root, 'state/balloon')

t.test('a full disk refuses what would change something, and nothing else', async t => {
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec: running })
  await writeFile(balloon, Buffer.alloc(2 ** 20)).catch(() => {})
  // The last page of the ledger takes a few more.
  const resume = () => client.task('vm', 'ResumeVm', { vmId: running.vmId }).catch((e: Refused) => e)
  for (let tries = 0; tries < 100 && !((await resume()) instanceof Refused); tries++);
  const known = (await client.call('task', 'ListTasks'))['tasks'].length
  const error = await client
    .task('vm', 'StartVm', { vmGeneration: '1', spec: other })
    .catch((e: Refused) => e)
  t.match(error, { code: status.RESOURCE_EXHAUSTED, reason: 'STORE_FULL' })
  t.equal(await world.vm(other.vmId), null)
  t.match(await world.vm(running.vmId), { status: /UP$/ })
  t.equal((await client.call('task', 'ListTasks'))['tasks'].length, known)
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 1)
})

t.test('it works again as soon as there is space', async t => {
  await rm(balloon)
  t.match(await client.task('vm', 'StartVm', { vmGeneration: '1', spec: other }), {
    state: 'TASK_STATE_SUCCEEDED'
  })
  const { tasks } = await client.call('task', 'ListTasks')
  await world.agentEnds('SIGKILL')
  await world.startAgent()
  const after = (await client.call('task', 'ListTasks'))['tasks']
  t.equal(after.length, tasks.length, 'and the ledger is whole')
})
