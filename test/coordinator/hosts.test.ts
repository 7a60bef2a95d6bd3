import { randomUUID } from 'node:crypto'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { markUnknown } from '../../coordinator/ha/lost-vms.js'
import { hostMessage } from '../../coordinator/services/host-message.js'
import { host } from '../../coordinator/store/hosts.js'
import { insertVm, vmOrNull } from '../../coordinator/store/vms.js'
import { agentServices, coordinatorServices } from '../../proto/load.js'
import { FakeAgent } from '../fakes/fake-agent.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from './world.js'

t.setTimeout(280_000)

const { host: hosts, event } = coordinatorServices

const addVm = (world: CoordinatorWorld, clusterId: string, generation = 1): string => {
  const id = randomUUID()
  world.running.store.transaction(tx =>
    insertVm(tx, {
      ...{ id, name: `vm-${id.slice(0, 8)}`, description: '', clusterId, templateId: null, vcpus: 1 },
      ...{ memoryBytes: 2 ** 29, firmware: 'bios', isHa: 0, priority: 50, leaseStorageDomainId: null },
      ...{ cpuModel: '', phase: 'ok', restartsJson: null, status: 'down', hostId: null, generation },
      ...{ migratingToHostId: null, failureJson: null, guestJson: null, migrationJson: null },
      ...{ started: null, created: Date.now(), wantedRunning: 1 }
    })
  )
  return id
}
const seenVm = (vmId: string, status: string, vmGeneration = 1, more = {}) => ({
  ...{
    vmId,
    name: 'x',
    status: `VM_STATUS_${status}`,
    vmGeneration: String(vmGeneration),
    exitReason: '',
    ...more
  }
})

t.test('a host enrols with its token once, is greeted, and is up', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  t.equal(agent.hostGeneration, 1)
  t.equal(agent.sanlockHostId, 1)
  t.equal(agent.coordinatorEpoch, 1)
  const shown = await world.call(hosts.GetHost, { hostId: 'a' })
  t.match(shown, {
    hostId: agent.hostId,
    address: agent.address,
    hostGeneration: '1',
    capabilities: { hardwareId: agent.hardwareId, cpus: 8 },
    stats: { cpuPercent: 5 }
  })

  const other = new FakeAgent()
  const { token } = await world.mutate(hosts.CreateHost, { host: { name: 'b', clusterId } })
  const place = { port: world.running.tlsPort, trust: await world.trust() }
  await other.enrol(place, token)
  world.agents.push(other)
  t.match(await failure(new FakeAgent().enrol(place, token)), { reason: 'PERMISSION_DENIED' })
  t.match(await failure(new FakeAgent().enrol(place, 'drover-nonsense')), { reason: 'PERMISSION_DENIED' })
  await world.until(() => agent.peers.some(peer => peer['hostId'] === other.hostId))
  t.match(agent.peers, [{ hostId: other.hostId, address: other.address }], 'both know each other')
})

t.test('what a host says of its VMs is believed by the number of the start', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  const vmId = addVm(world, clusterId, 3)
  const vm = () => vmOrNull(world.read, vmId)

  agent.setVm(seenVm(vmId, 'PAUSED', 2))
  await world.until(() => (agent.effects.get('DestroyVm') ?? 0) === 1)
  t.equal(vm()?.status, 'down', 'a ghost changes nothing, and is removed when it does not run')

  agent.setVm(seenVm(vmId, 'UP', 3, { guest: { hostname: 'guest-1' } }))
  await world.until(() => vm()?.status === 'up')
  t.match(vm(), { hostId: agent.hostId, guest: { hostname: 'guest-1' }, observedGeneration: 3 })

  agent.removeVm(vmId)
  await world.until(() => vm()?.status === 'down')
  t.match(vm(), { exitReason: 'lost', hostId: null, failure: { message: /disappeared from host a/ } })
  const kinds = (await world.events()).map(({ kind }) => kind)
  t.ok(kinds.includes('vm.started') && kinds.includes('vm.disappeared'))
})

t.test('a source that let go says where the VM went, also to a store that knew of no migration', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const a = await world.addHost(clusterId, 'a')
  const b = await world.addHost(clusterId, 'b')
  const vmId = addVm(world, clusterId)
  const vm = () => vmOrNull(world.read, vmId)
  a.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vm()?.status === 'up')

  const migration = { destinationHostId: b.hostId }
  a.setVm(seenVm(vmId, 'DOWN', 1, { exitReason: 'migrated', migration }))
  await world.until(() => vm()?.hostId === b.hostId)
  t.equal(vm()?.status, 'migrating_to', 'only the destination can say what it has')
  b.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vm()?.status === 'up')
})

/** The destination of a migration has told what it has, and was heard, before the source let go. */
async function toldTooEarly(t: Parameters<typeof coordinatorWorld>[0]) {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const a = await world.addHost(clusterId, 'a')
  const b = await world.addHost(clusterId, 'b')
  const [vmId, other] = [addVm(world, clusterId), addVm(world, clusterId)]
  const vm = () => vmOrNull(world.read, vmId)
  a.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vm()?.status === 'up')
  b.setVm(seenVm(vmId, 'UP'))
  b.setVm(seenVm(other, 'UP'))
  await world.until(() => vmOrNull(world.read, other)?.status === 'up')
  const migration = { destinationHostId: b.hostId }
  const letGo = () => a.setVm(seenVm(vmId, 'DOWN', 1, { exitReason: 'migrated', migration }))
  return { world, a, b, vm, letGo }
}

t.test('what a destination said too early is believed as soon as the source has let go', async t => {
  const { world, a, b, vm, letGo } = await toldTooEarly(t)
  t.equal(vm()?.hostId, a.hostId, 'the host on record speaks for itself')

  letGo()
  await world.until(() => vm()?.hostId === b.hostId && vm()?.status === 'up')
  t.pass('although the destination said it once')
})

t.test('what was not believed is told again to the next life of the coordinator', async t => {
  const { world, b, vm, letGo } = await toldTooEarly(t)
  const { incarnation } = b.watch
  await world.stop()
  letGo()
  await world.start()
  await world.until(() => vm()?.hostId === b.hostId && vm()?.status === 'up')
  t.equal(b.watch.incarnation, incarnation, 'by an agent that lived on')
})

t.test('a store that is older than a host takes the generation that the host knows', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  await world.stop()
  agent.hostGeneration = 5
  await world.start()
  await world.until(() => world.running.agents.isReady(agent.hostId))
  t.equal(host(world.read, agent.hostId).generation, 5)
  const told = (await world.events()).find(({ kind }) => kind === 'host.generation_adopted')
  t.match(told, { severity: 'SEVERITY_ALERT', text: /knows generation 5 of itself and this store 1/ })
})

t.test('a second host is believed once the host on record is silent', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const a = await world.addHost(clusterId, 'a')
  const b = await world.addHost(clusterId, 'b')
  const [vmId, other] = [addVm(world, clusterId), addVm(world, clusterId)]
  const hostOf = (id: string) => vmOrNull(world.read, id)?.hostId
  a.setVm(seenVm(vmId, 'UP'))
  await world.until(() => hostOf(vmId) === a.hostId)
  b.setVm(seenVm(vmId, 'UP'))
  b.setVm(seenVm(other, 'UP'))
  await world.until(() => hostOf(other) === b.hostId)
  t.equal(hostOf(vmId), a.hostId, 'the host on record speaks for itself')

  await a.die()
  b.setVm(seenVm(vmId, 'PAUSED'))
  await world.until(() => hostOf(vmId) === b.hostId)
})

t.test('after an agent died, a VM that its snapshot does not mention has disappeared', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  const [kept, gone] = [addVm(world, clusterId), addVm(world, clusterId)]
  agent.setVm(seenVm(kept, 'UP'))
  agent.setVm(seenVm(gone, 'UP'))
  await world.until(() => vmOrNull(world.read, gone)?.status === 'up')
  await agent.die()
  agent.vms.delete(gone)
  await agent.serve()
  await world.until(() => vmOrNull(world.read, gone)?.status === 'down')
  t.equal(vmOrNull(world.read, kept)?.status, 'up')
})

t.test('a VM that was given up as unknown and just ran on is seen again when its host is back', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const vmId = addVm(world, host(world.read, agent.hostId).clusterId)
  agent.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  world.running.store.transaction(tx => markUnknown(tx, agent.hostId))
  await world.stop()
  await world.start()
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  t.strictSame(
    agent.watch.begun,
    ['snapshot', 'snapshot'],
    'it told everything, and not only what had changed'
  )
})

t.test('the same, where its stream outlived the silence', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const vmId = addVm(world, host(world.read, agent.hostId).clusterId)
  agent.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  agent.watch.isMute = true
  await world.until(() => host(world.read, agent.hostId).health === 'connecting')
  world.running.store.transaction(tx => markUnknown(tx, agent.hostId))
  agent.watch.isMute = false
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  t.strictSame(agent.watch.begun, ['snapshot', 'snapshot'])
})

t.test('the same, where its stream was being begun anew', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const vmId = addVm(world, host(world.read, agent.hostId).clusterId)
  agent.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  await world.stop()
  agent.watch.isMute = true
  await world.start()
  await world.until(() => agent.watch.begun.at(-1) === 'continued')
  world.running.store.transaction(tx => markUnknown(tx, agent.hostId))
  agent.watch.isMute = false
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  t.strictSame(agent.watch.begun, ['snapshot', 'continued', 'snapshot'])
})

t.test('a stream that breaks goes on from its position; a new life of the coordinator too', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  const vmId = addVm(world, clusterId)
  agent.setVm(seenVm(vmId, 'UP'))
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'up')
  t.strictSame(agent.watch.begun, ['snapshot'])
  await world.stop()
  await world.start()
  await world.until(() => agent.watch.begun.length === 2 && world.running.agents.isReady(agent.hostId))
  t.strictSame(agent.watch.begun, ['snapshot', 'continued'])
  t.equal(agent.coordinatorEpoch, 2, 'each life reigns under a number of its own')
  agent.setVm(seenVm(vmId, 'DOWN', 1, { exitReason: 'shutdown' }))
  await world.until(() => vmOrNull(world.read, vmId)?.status === 'down')
  t.equal(vmOrNull(world.read, vmId)?.wantedRunning, false, 'somebody inside stopped it')
})

t.test('VMs that the store does not know are shown and never touched', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const vmId = randomUUID()
  agent.setVm(seenVm(vmId, 'UP', 0, { foreign: 'external', name: 'by hand' }))
  await world.until(() => vmOrNull(world.read, vmId) !== null)
  t.match(vmOrNull(world.read, vmId), { isExternal: true, name: 'by hand', hostId: agent.hostId })
  agent.removeVm(vmId)
  await world.until(() => vmOrNull(world.read, vmId) === null)
})

t.test('tasks are waited for; a lost reply, a lost agent and a failure end as they should', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const { client } = await world.over({ role: 'ADMIN', id: 'x' })
  t.ok(client)
  const hostsOf = world.running.agents
  const { CreateVolume, RemoveImage } = agentServices.storage
  const request = () => ({ requestId: randomUUID(), volumeId: randomUUID(), capacity: '1048576' })
  const percents: number[] = []

  agent.works.set('CreateVolume', (_, told) => {
    told({ percent: 40, doneBytes: '4', totalBytes: '10', phase: 'writing' })
    return { sha256: 'abc' }
  })
  const result = await hostsOf.runTask(agent.hostId, CreateVolume, request(), {
    signal: never,
    progress: ({ percent = 0 }) => void percents.push(percent)
  })
  t.strictSame(result, { sha256: 'abc' })

  agent.works.set('RemoveImage', () => {
    throw new Fault('LEASE_HELD', 'another host has it', { facts: { owner: '7' } })
  })
  t.match(
    await failure(
      hostsOf.runTask(agent.hostId, RemoveImage, { ...request(), imageId: randomUUID() }, { signal: never })
    ),
    { reason: 'LEASE_HELD', facts: { owner: '7', host: agent.hostId } },
    'the fault crosses unchanged, with the host'
  )

  agent.works.set('CreateVolume', () => new Promise(() => {}))
  const lost = request()
  const first = hostsOf.runTask(agent.hostId, CreateVolume, lost, { signal: never })
  const broken = failure(first)
  await world.until(() => agent.tasks.get(lost.requestId)?.state === 'RUNNING')
  await agent.die()
  t.match(await broken, { reason: 'HOST_UNREACHABLE' })
  agent.works.set('CreateVolume', () => ({ done: 'again' }))
  await agent.serve()
  await world.until(() => hostsOf.isReady(agent.hostId))
  t.strictSame(
    await hostsOf.runTask(agent.hostId, CreateVolume, lost, { signal: never }),
    { done: 'again' },
    'the same request finishes what the dead agent left'
  )
})

t.test('a revoked host is refused within five seconds, everywhere', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const [a, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const began = performance.now()
  await world.mutate(hosts.RevokeHost, { hostId: 'a' })
  await world.until(() => b.deniedHostIds.includes(a.hostId))
  t.ok(performance.now() - began < 5000)
  t.ok(b.deniedSerials.includes(a.serial))
  await world.until(() => host(world.read, a.hostId).status !== 'up')
  t.not(world.running.agents.isReady(a.hostId), true)

  const { token } = await world.mutate(hosts.CreateEnrolmentToken, { hostId: 'a' })
  await a.enrol({ port: world.running.tlsPort, trust: await world.trust() }, token)
  await world.until(() => host(world.read, a.hostId).status === 'up')
  t.equal(a.hostGeneration, 2, 'it is the same host, in another life')
})

t.test('certificates are renewed over the live channel when two thirds of their life are over', async t => {
  const world = await coordinatorWorld(t, { certificate_seconds: 10 })
  const agent = await world.addHost(await world.createCluster(), 'a')
  const before = agent.serial
  await world.until(() => (agent.effects.get('CompleteCertificateRenewal') ?? 0) > 0, 20)
  t.not(agent.serial, before)
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'host.renewed'))
  await world.until(() => world.running.agents.isReady(agent.hostId))
})

t.test(
  'a host that has seen a newer coordinator refuses this one until an operator adopts its epoch',
  async t => {
    const world = await coordinatorWorld(t)
    const clusterId = await world.createCluster()
    const agent = await world.addHost(clusterId, 'a')
    agent.coordinatorEpoch = 50
    await agent.die()
    await agent.serve()
    await world.until(async () => (await world.events()).some(({ kind }) => kind === 'coordinator.refused'))
    t.not(world.running.agents.isReady(agent.hostId), true)
    const { leaveNote } = await import('../../coordinator/trust/notes.js')
    const { systemClock } = await import('../../common/clock.js')
    await leaveNote(`${world.folder}/state/trust/notes`, { kind: 'adoptEpoch', epoch: 51 }, systemClock)
    await world.until(() => world.running.agents.isReady(agent.hostId))
    t.equal(agent.coordinatorEpoch, 51)
    const { records } = await world.call(event.VerifyAuditTrail, {})
    t.ok(Number(records) > 0)
  }
)

t.test('a host that is enrolled and was never heard says what to do', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const known = host(world.read, agent.hostId)
  const now = { stats: () => null, lastHeard: () => null, lacks: () => [] }
  const shown = (status: 'initializing' | 'up') => hostMessage(world.read, { ...known, status }, now).problem
  t.match(shown('initializing'), /not heard of yet: drover-agent must run there and be reachable at .*:\d+/)
  t.equal(shown('up'), '')
})

t.test('the audit names an agent that uses far more than when it was warm', async t => {
  const world = await coordinatorWorld(t)
  const agent = await world.addHost(await world.createCluster(), 'a')
  const warm = { residentBytes: 2 ** 27, openFiles: 50, children: 2 }
  agent.use = { warm, latest: { ...warm, openFiles: 900 } }
  const { findings, scope } = await world.call(event.RunAudit, {})
  t.match(findings, [
    { invariant: 'I19', object: 'agent of a', text: /uses 900 open files/, hostId: agent.hostId }
  ])
  t.match(scope, /1 hosts/)
  agent.use = { warm, latest: warm }
  t.strictSame((await world.call(event.RunAudit, {})).findings, [])
})

t.test(
  'an audit of a storage domain that is not there is refused, and one that is not active is named',
  async t => {
    const world = await coordinatorWorld(t)
    const unknown = { storageDomainId: randomUUID() }
    t.match(await failure(world.call(event.RunAudit, unknown)), { status: 'NOT_FOUND' })
    t.match(await failure(world.call(event.RunAudit, { storageDomainId: 'store' })), {
      violations: [{ field: 'storage_domain_id' }]
    })
    await world.addHost(await world.createCluster(), 'a')
    const storageDomain = { name: 'store', connection: { kind: 'posix' as const, posix: { path: '/srv/s' } } }
    const { CreateStorageDomain, DeactivateStorageDomain } = coordinatorServices.storageDomain
    const job = await world.mutate(CreateStorageDomain, { storageDomain })
    const isOver = async ({ jobId }: { jobId: string }) =>
      (await world.call(coordinatorServices.job.GetJob, { jobId })).state === 'JOB_STATE_SUCCEEDED'
    await world.until(() => isOver(job))
    const storageDomainId = job.objects['storageDomain'] ?? ''
    t.match(await world.call(event.RunAudit, { storageDomainId }), { scope: /, 1 storage domains$/ })
    const leaving = await world.mutate(DeactivateStorageDomain, { storageDomainId })
    await world.until(() => isOver(leaving))
    t.match(await world.call(event.RunAudit, { storageDomainId }), {
      scope: /0 storage domains; storage domain store is \w+ and was not looked at/
    })
  }
)
