import { setMaxListeners } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { systemClock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { contractHash } from '../common/contract.js'
import { exists } from '../common/exists.js'
import { Locks } from '../common/locks.js'
import type { Logger } from '../common/log.js'
import { readRegistry } from '../common/policy.js'
import { commandRunner } from '../common/run.js'
import { RpcServer } from '../common/server.js'
import { UseWatch } from '../common/own-use.js'
import { seconds } from '../common/units.js'
import { Libvirt } from '../libvirt/connections.js'
import { agentServices, descriptorSet, standardServices } from '../proto/load.js'
import { readBootId, readCapabilities } from './capabilities.js'
import { CertificateStore } from './certificates.js'
import type { AgentConfig } from './config.js'
import { DataPrograms } from './data-programs.js'
import { Disks } from './disks.js'
import { policyOf, setUpExtender } from './extender/set-up.js'
import { agentGate } from './gate.js'
import { Host } from './host.js'
import { HostStatsReader } from './host-stats.js'
import { hostVerbs } from './host-verbs.js'
import { every } from './every.js'
import { lunsOf } from './luns.js'
import { IdentityFile } from './identity.js'
import { departureOf, HeldArrivals } from './held-arrivals.js'
import { Incoming } from './incoming.js'
import { Ledger } from './ledger.js'
import { startLoops } from './loops.js'
import { followMigration, type MigrationWorld } from './migration.js'
import { Notify } from '../common/notify.js'
import { Peers } from './peers.js'
import { recovery, whenRecovered } from './recover.js'
import { Requests } from './requests.js'
import { debugService } from './services/debug.js'
import { hostService } from './services/host.js'
import { peerService } from './services/peer.js'
import { stateMessage } from './services/storage-messages.js'
import { sanService } from './services/san.js'
import { storageService } from './services/storage.js'
import { taskService } from './services/task.js'
import { upgradeService } from './services/upgrade.js'
import { thinService } from './services/thin.js'
import { vmService } from './services/vm.js'
import { watchService } from './services/watch.js'
import { Stats } from './stats.js'
import { Reservations } from '../storage/connections/reservations.js'
import { setUpStorage } from './storage-setup.js'
import { taskMessage } from './task-message.js'
import { lockLevels, Tasks } from './tasks.js'
import { TlsDoor } from './tls-door.js'
import { Packages } from './upgrade/packages.js'
import { readRebootFacts } from './upgrade/reboot.js'
import { rebootHost } from './upgrade/reboot-host.js'
import { agentVersion } from './version.js'
import { vmMessage } from './vm-message.js'
import { Vms } from './vms.js'
import { WatchLog } from './watch-log.js'
import type { WatchState } from './watch-stream.js'

export type RunningAgent = { tlsPort(): number | null; dump(): object; stop(): Promise<void> }

/**
 * The agent, put together: the only place that builds its parts. In this order it starts: what it was and
 * what it promised (identity, ledger), its doors, storage, libvirt and with it the VMs; then it serves.
 */
export async function startAgent(config: AgentConfig, log: Logger): Promise<RunningAgent> {
  const clock = systemClock
  const run = commandRunner(log)
  const end = new AbortController()
  // Each loop waits for it.
  setMaxListeners(50, end.signal)
  const { state_directory: stateDirectory, run_directory: runDirectory } = config
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
  await mkdir(runDirectory, { recursive: true, mode: 0o755 })

  // What it was, and what it promised.
  const identity = await IdentityFile.load(`${stateDirectory}/identity.json`)
  const certificates = new CertificateStore(`${stateDirectory}/tls`)
  const ledger = await Ledger.open(`${stateDirectory}/ledger`, clock, log)
  const bootId = await readBootId()

  // What it tells.
  const watchLog = new WatchLog<WatchState>(clock.newId())
  const onHostChange = () => {
    server.health.ready = !host.isRecovering
    watchLog.publish('host', { host: host.message() })
  }
  const host: Host = new Host(watchLog.incarnation, identity, onHostChange)

  // What it does.
  const rememberEpoch = (epoch: number, incarnation = '') => identity.rememberEpoch(epoch, incarnation)
  const locks = new Locks(lockLevels)
  const requests = new Requests(ledger, rememberEpoch)
  const tasks = new Tasks({
    ...{ ledger, rememberEpoch, locks, clock, log },
    perKind: { 'VmService.MigrateVm': config.migrations_at_once, 'HostService.UpgradePackages': 1 },
    onChange: (id, task) => watchLog.publish(`task/${id}`, task && { task: taskMessage(task) })
  })
  const { storage, images, leases, block } = setUpStorage({
    ...{ stateDirectory, runDirectory, run, clock, log },
    importDirectory: config.import_directory,
    allowedDirectories: config.allowed_directories,
    logLevel: config.log_level,
    sanlock: { mode: config.unsafe_without_sanlock ? 'direct' : 'daemon', runDirectory: null },
    onChange: (id, state) => {
      watchLog.publish(`storageDomain/${id}`, state && { storageDomain: stateMessage(state) })
    },
    sanlockHostId: () => identity.now.sanlockHostId,
    thinInitialMib: config.thin_initial_mib,
    onManagerWanted: id => thin.manager.onWanted(id)
  })
  const lunPort = {
    forVm: (lun: { wwid: string; readOnly: boolean }, signal: AbortSignal) => block.forVm(lun, signal),
    canReserve: () => exists('/usr/bin/qemu-pr-helper')
  }
  const disks = new Disks(storage, locks, log, lunPort, vmId =>
    vms.running().flatMap(({ id, record }) => (id === vmId || !record ? [] : [record.spec]))
  )
  const incoming: Incoming = new Incoming({ vms: () => vms, disks, identity, config, clock, log })
  const vms: Vms = new Vms({
    ...{ disks, clock, log, libvirt: () => libvirt },
    incoming,
    onHeld: vm => held.hold(vm),
    onLeaving: vm => {
      void followMigration(world, vm, end.signal).catch((error: unknown) => {
        log.warn({ err: error, vm: vm.id }, 'migration not followed')
      })
    },
    onChange: (id, vm) => watchLog.publish(`vm/${id}`, vm && { vm: vmMessage(vm) }),
    note: (id, what, text) => watchLog.note(`vm/${id}`, what, text, clock.wall())
  })
  const refresh = async (signal: AbortSignal) => {
    host.learn(await readCapabilities({ libvirt, config, run }, signal))
  }
  const { onUp } = recovery({ host, vms, refresh, clock, log }, end.signal)
  const libvirt: Libvirt = Libvirt.open({
    ...{ log, socketPath: config.libvirt_socket, onUp },
    onEvent: event => {
      vms.onEvent(event)
      thin.onEvent(event)
    }
  })
  const peers = new Peers({ identity, certificates: () => door.certificates, clock })
  const held = new HeldArrivals({ vms: () => vms, incoming, peers, clock, log }, end.signal)
  const thin = setUpExtender(
    {
      vms: () => vms,
      storage,
      libvirt: () => libvirt,
      peers,
      identity,
      policy: policyOf(config),
      managerIdle: seconds(config.manager_idle_seconds),
      clock,
      log
    },
    end.signal
  )
  const world: MigrationWorld = {
    ...{ vms, libvirt, disks, host, config, identity, peers, clock },
    now: () => clock.wall(),
    capabilities: async signal => {
      if (!host.capabilities?.qemuVersion) await refresh(signal)
      if (!host.capabilities?.qemuVersion) throw new Fault('LIBVIRT_UNAVAILABLE', 'libvirtd is away')
      return host.capabilities
    }
  }

  // Its doors.
  const server: RpcServer = new RpcServer({
    ...{ log, clock },
    contract: { descriptorSet, standardServices },
    trust: { installation: () => identity.now.installationId, denies: caller => identity.denies(caller) },
    audit: entry => log.info({ audit: entry }, 'audit'),
    gate: agentGate({ rule: () => identity.rule(), isRecovering: () => host.isRecovering, rememberEpoch })
  })
  const door: TlsDoor = new TlsDoor({ server, config, certificates, identity, clock, log })
  const useCertificates = (fresh: Parameters<TlsDoor['use']>[0]) => door.use(fresh)
  const reader = new HostStatsReader(clock, stateDirectory)
  const stats = new Stats({ vms, libvirt, host, reader, clock, libvirtSocket: config.libvirt_socket })
  const watchers = { count: 0 }
  const use = new UseWatch(clock)
  const intents = () => {
    const unfinished = tasks.list().filter(({ ended }) => ended === null)
    return unfinished.flatMap(({ objects }) => Object.values(objects))
  }
  const dump = () => ({
    ...{ identity: identity.now, tasks: tasks.list(), locks: locks.dump(), watchers, rpc: server.dump() },
    vms: vms.list().map(vm => ({ id: vm.id, state: vm.state, verb: vm.lane.running, record: vm.record })),
    storageDomains: storage.states(),
    thin: thin.extender.dump(),
    unresponsive: [...libvirt.unresponsive()]
  })
  const knows = contractHash(readRegistry(descriptorSet), 'drover.agent.v1')
  const hello = () => ({
    hostGeneration: identity.now.hostGeneration,
    ...{ contractHash: knows, bootId, agentVersion, recovering: host.isRecovering }
  })
  const verbs = hostVerbs({
    ...{ config, host, identity, certificates, run, refresh, useCertificates },
    onChange: onHostChange
  })
  const upgrades = upgradeService({
    packages: new Packages({
      ...{ run, directory: `${stateDirectory}/upgrades`, readFacts: readRebootFacts },
      programs: new DataPrograms({ directory: `${stateDirectory}/upgrades`, run, clock, log })
    }),
    reboot: (bootId, signal) =>
      rebootHost(
        { run, bootId: readBootId, running: () => vms.running().map(({ name }) => name) },
        bootId,
        signal
      ),
    ...{ tasks, requests }
  })
  server
    .add(agentServices.host, { ...hostService(verbs, requests), ...upgrades })
    .add(agentServices.vm, vmService({ world, incoming, tasks, requests }))
    .add(
      agentServices.peer,
      peerService(incoming, config.libvirt_socket, thin.volumes, {
        letGo: (...vm) => held.letGo(...vm),
        departureOf: (vm, signal) => departureOf(vms, host.isRecovering, vm, signal)
      })
    )
    .add(
      agentServices.storage,
      storageService({ storage, images, leases, tasks, requests, intents, manager: thin.manager })
    )
    .add(
      agentServices.san,
      sanService({
        ...{ block, reservations: new Reservations(run), tasks },
        connections: () => storage.states().map(({ connection }) => connection),
        lunsInUse: () =>
          vms
            .running()
            .flatMap(({ record }) => (record ? lunsOf(record.spec) : []))
            .map(({ wwid }) => wwid)
      })
    )
    .add(agentServices.task, taskService(tasks))
    .add(agentServices.thin, thinService(thin.extender))
    .add(
      agentServices.watch,
      watchService({ log: watchLog, clock, hello, samples: () => stats.samples() }, watchers)
    )
    .add(agentServices.debug, debugService(dump, log))
    .addStandard()
  // Of an earlier life: lost, or ended and not yet heard of.
  for (const task of tasks.list()) watchLog.publish(`task/${task.id}`, { task: taskMessage(task) })
  // Who finds the local socket open finds the network's door open too.
  await door.open()
  await server.listenUnix(`${runDirectory}/agent.sock`)

  // What is there.
  await storage.restore()
  const isRecovered = await whenRecovered(host, clock, end.signal)
  if (!isRecovered) log.warn('libvirtd is away: nothing is changed until it is there')
  const notify = new Notify(run, clock, log)
  await notify.ready()

  thin.run()
  startLoops({ vms, storage, stats, incoming, use, clock, log }, end.signal)
  // sanlock may start after the agent, and be configured later still: what a host lacks is looked at again.
  const lookAgain = async (signal: AbortSignal) => {
    if (libvirt.isUp && host.capabilities && !host.capabilities.haLeases) await refresh(signal)
  }
  void every({ clock, log, name: 'capabilities' }, seconds(5), lookAgain, end.signal)
  log.info({ host: identity.now.hostId, tlsPort: door.port, version: agentVersion }, 'agent serves')

  /** Nothing of the VMs ends with the agent. */
  const stop = async () => {
    server.health.ready = false
    await notify.stopping()
    await tasks.stop(seconds(10))
    end.abort()
    door.close()
    await server.stop(seconds(2))
    await storage.stop()
    await libvirt.close()
    reader.close()
    await ledger.close()
  }
  return { tlsPort: () => door.port, dump, stop }
}
