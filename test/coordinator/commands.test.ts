import { readFile, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { issueAdmin } from '../../coordinator/commands/issue-admin.js'
import { restore } from '../../coordinator/commands/restore.js'
import { coordinatorServices } from '../../proto/load.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from './world.js'

t.setTimeout(280_000)

const { cluster, coordinator, event } = coordinatorServices

/** The configuration of a test's coordinator as the file that commands read. */
async function configFile(world: CoordinatorWorld): Promise<string> {
  const path = `${world.folder}/coordinator.toml`
  const { state_directory, backup_directory, socket } = world.config
  const listen = `127.0.0.1:${world.running.tlsPort}`
  const lines = Object.entries({ state_directory, backup_directory, socket, listen, advertise: listen })
  await writeFile(path, lines.map(([name, value]) => `${name} = "${value}"\n`).join(''))
  return path
}

const silently = async <T>(work: () => Promise<T>): Promise<T> => {
  const write = process.stdout.write.bind(process.stdout)
  process.stdout.write = () => true
  try {
    return await work()
  } finally {
    process.stdout.write = write
  }
}

t.test('a certificate for an administrator opens the door, and is recorded', async t => {
  const world = await coordinatorWorld(t)
  const config = await configFile(world)
  const out = `${world.folder}/ann`
  await silently(() => issueAdmin(['ann', '--out', out, '--config', config]))
  t.equal((await stat(`${out}/key.pem`)).mode & 0o777, 0o600)
  const [trust, certificate, key] = await Promise.all(
    ['ca', 'cert', 'key'].map(name => readFile(`${out}/${name}.pem`, 'utf8'))
  )
  using client = new RpcClient(
    {
      address: `127.0.0.1:${world.running.tlsPort}`,
      trust: trust ?? '',
      identity: { certificate: certificate ?? '', key: key ?? '' },
      expect: ({ role }) => role === 'COORDINATOR'
    },
    systemClock
  )
  t.match(await client.call(cluster.ListClusters, {}, never), { clusters: [] })
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'certificate.issued'))
  t.match(await failure(issueAdmin(['../x', '--out', out, '--config', config])), {
    reason: 'INVALID_REQUEST'
  })
})

t.test('a restored store finds the world as it is and destroys nothing', async t => {
  const world = await coordinatorWorld(t)
  const config = await configFile(world)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  const { path, size, sha256 } = await world.mutate(coordinator.Backup, { name: 'night.db' })
  t.ok(Number(size) > 0 && /^[0-9a-f]{64}$/.test(sha256))
  t.match(await failure(world.mutate(coordinator.Backup, { name: 'night.db' })), { reason: 'ALREADY_EXISTS' })

  agent.setVm({
    ...{ vmId: '44444444-4444-4444-8444-444444444444', name: 'made since', status: 'VM_STATUS_UP' },
    ...{ vmGeneration: '1', exitReason: '', foreign: '' }
  })
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'vm.external'))
  t.match(await failure(restore([path, '--replace', '--config', config])), {
    message: 'another coordinator uses this store'
  })
  await world.stop()
  agent.coordinatorEpoch = 9
  t.match(await failure(restore([path, '--config', config])), { reason: 'WRONG_STATE' })
  await silently(() => restore([path, '--replace', '--config', config]))
  await world.start()
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'coordinator.refused'))
  t.notOk(world.running.agents.isReady(agent.hostId), 'the host has seen a later reign')

  const { adoptEpochCommand } = await import('../../coordinator/commands/adopt-epoch.js')
  await silently(() => adoptEpochCommand(['--config', config]))
  await world.until(() => world.running.agents.isReady(agent.hostId))
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'vm.external'))
  t.equal(agent.vms.size, 1, 'what runs, runs on')
  t.notOk(agent.effects.get('DestroyVm'))
  t.match(await world.call(event.VerifyAuditTrail, {}), { firstBadSequence: '0' })
})
