import { randomUUID } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { agentServices } from '../../../proto/load.js'
import { secretRequests } from '../../common/bad-values.js'
import { cluster, stamped } from './cluster.js'
import { diskless } from './world.js'

// What is told to a host in confidence stands in no log, no file, no list of processes and no answer of it.

t.setTimeout(280_000)

const agents = `/tmp/drover-fence-${randomUUID()}`
await mkdir(agents)
const house = await cluster(1, { fence_agents_directory: agents, log_level: 'trace' })
t.teardown(async () => {
  await house[Symbol.asyncDispose]()
  await import('node:fs/promises').then(({ rm }) => rm(agents, { recursive: true, force: true }))
})
const [{ world, coordinator }] = house.hosts as [(typeof house.hosts)[number]]
const canary = `CANARY-${randomUUID()}`
const ticket = 'cN4rY#z!'

async function fenceAgent(name: string, script: string): Promise<void> {
  await writeFile(join(agents, name), `#!/bin/sh\n${script}\n`)
  await chmod(join(agents, name), 0o755)
}
// Programs that repeat what they were told, in every way in which one can end.
await fenceAgent('fence_echo', 'cat; exit 0')
await fenceAgent('fence_loud', 'cat >&2; exit 1')
await fenceAgent('fence_odd', 'cat >&2; exit 77')
await fenceAgent('fence_slow', 'cat >&2; exec sleep 30')

/** Command lines and environments of everything that runs. */
async function processes(): Promise<string> {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
  const files = pids.flatMap(pid => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
  return (await Promise.all(files.map(file => readFile(file, 'latin1').catch(() => '')))).join('\n')
}

async function filesBelow(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true })
  return all.filter(file => file.isFile()).map(file => join(file.parentPath, file.name))
}

t.test('secrets of power devices and consoles are told to nobody else', async t => {
  const heard: string[] = []
  const secretOptions = { password: canary }
  const fence = (fenceAgent: string, more: object = {}) =>
    coordinator
      .mutate(
        'host',
        'RunFenceAgent',
        stamped({ fenceAgent, action: 'FENCE_ACTION_OFF', secretOptions, ...more })
      )
      .then(JSON.stringify, String)
  await coordinator.call('host', 'GetHost', { refresh: true })
  for (const name of ['fence_echo', 'fence_loud', 'fence_odd', 'fence_nothing']) heard.push(await fence(name))
  t.match(heard[0], /password=\*\*\*/, 'it was told')
  const slow = fence('fence_slow', { timeoutSeconds: 2 })
  for (let samples = 0; samples < 10; samples++) {
    heard.push(await processes())
    await setTimeout(100)
  }
  heard.push(await slow)

  const spec = diskless(randomUUID(), { graphics: true })
  await coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec }))
  await coordinator.mutate('vm', 'SetConsoleTicket', stamped({ vmId: spec.vmId, password: ticket }))
  heard.push(JSON.stringify(await coordinator.call('vm', 'GetVm', { vmId: spec.vmId })), await processes())
  heard.push((await world.client.call('debug', 'Dump'))['json'])

  // And wherever else the contract has a place for one.
  const names = new Map(
    Object.entries(agentServices).flatMap(([service, definition]) =>
      Object.entries(definition as object).map(
        ([name, { path }]) => [path as string, [service, name]] as const
      )
    )
  )
  for (const { path, request } of secretRequests('drover.agent.v1', canary)) {
    const [service, name] = names.get(path)!
    const sent = { ...request, coordinatorEpoch: '1', hostGeneration: '1' }
    heard.push(await coordinator.call(service as never, name!, sent, 5).then(JSON.stringify, String))
  }
  await coordinator.task('vm', 'DestroyVm', stamped({ vmId: spec.vmId }))

  const said = `${heard.join('\n')}\n${await world.log()}`
  t.notOk(said.includes(canary), 'neither said')
  t.notOk(said.includes(ticket), 'nor is the ticket')
  for (const file of [...(await filesBelow(world.root)), ...(await filesBelow(world.libvirtd.root))]) {
    const bytes = await readFile(file).catch(() => Buffer.alloc(0))
    t.notOk(bytes.includes(canary) || bytes.includes(ticket), `${file} tells no secret`)
  }
})
