import { cp, mkdtemp, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t from 'tap'
import type { Fault } from '../../common/fault.js'
import { checkConfig } from '../../coordinator/config.js'
import { startCoordinator } from '../../coordinator/coordinator.js'
import { agentServices, coordinatorServices } from '../../proto/load.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from './world.js'

t.setTimeout(280_000)

const log = pino({ level: 'silent' })
const { host, event } = coordinatorServices
type Tap = { teardown(fn: () => unknown): void }

/** A copy of the machine, as of a snapshot of it, is started beside the first. */
async function startCopy(t: Tap, { folder: original, config }: CoordinatorWorld) {
  const folder = await mkdtemp(`${original}-copy-`)
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(config.state_directory, `${folder}/state`, { recursive: true })
  const other = await startCoordinator(
    checkConfig({
      ...{ listen: '127.0.0.1:0', socket: `${folder}/coordinator.sock` },
      ...{ state_directory: `${folder}/state`, backup_directory: `${folder}/backups` }
    }),
    log
  )
  t.teardown(() => other.stop())
  return other
}

t.test(
  'B33 two coordinators do not rule one store, and of two stores the newer reign rules the hosts',
  async t => {
    const world = await coordinatorWorld(t)
    const agent = await world.addHost(await world.createCluster(), 'a')

    const again = startCoordinator({ ...world.config, socket: `${world.folder}/second.sock` }, log)
    const refused = await failure(again)
    t.match(String((refused as Fault).message), /lock|in use|another/i, 'one store, one coordinator')
    t.match(await world.call(host.GetHost, { hostId: agent.hostId }), { status: 'HOST_STATUS_UP' })

    await startCopy(t, world)
    await world.until(() => agent.coordinatorEpoch > 1)
    t.equal(agent.coordinatorEpoch, 2, 'the host obeys the newer one')

    const command = world.running.agents.call(
      agent.hostId,
      agentServices.vm.PauseVm,
      { requestId: '66666666-6666-4666-8666-666666666666', vmId: '55555555-5555-4555-8555-555555555555' },
      never
    )
    t.match(await failure(command), { reason: 'STALE_COORDINATOR', status: 'ABORTED' })
    await world.until(async () => {
      const { events } = await world.call(event.ListEvents, { filter: 'kind = coordinator.refused' })
      return events.length === 1
    })
    t.pass('and the older one says so')
  }
)

t.test('B33 of two coordinators that came to the same epoch, one has the host', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const other = await startCopy(t, world)
  await world.until(() => agent.coordinatorEpoch === 2 && other.agents.isReady(agent.hostId))

  // The first one starts again: it counts to the epoch that the copy has.
  await world.stop()
  await world.start()
  await world.until(async () => {
    const { events } = await world.call(event.ListEvents, { filter: 'kind = coordinator.refused' })
    return events.length === 1
  })
  t.match(world.running.dump(), { about: { epoch: 2, mayActUnasked: false } }, 'the same epoch')
  t.match(other.dump(), { about: { epoch: 2, mayActUnasked: true } }, 'who restarts VMs')
  t.notOk(
    world.running.agents.isReady(agent.hostId),
    'a host that refuses its greeting gets no command of it'
  )
  await world.until(() => other.agents.isReady(agent.hostId))
  const command = other.agents.call(agent.hostId, agentServices.host.GetHost, {}, never)
  t.match(await command, { hostId: agent.hostId }, 'the copy goes on')
})
