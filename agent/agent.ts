import { mkdir } from 'node:fs/promises'
import { systemClock } from '../common/clock.js'
import { Locks } from '../common/locks.js'
import type { Logger } from '../common/log.js'
import { commandRunner } from '../common/run.js'
import { RpcServer } from '../common/server.js'
import type { Certificates } from '../common/tls.js'
import { seconds } from '../common/units.js'
import { Libvirt } from '../libvirt/connections.js'
import { agentServices, descriptorSet, standardServices } from '../proto/load.js'
import { readBootId, readCapabilities } from './capabilities.js'
import { CertificateStore, installMigrationCertificates } from './certificates.js'
import type { AgentConfig } from './config.js'
import { agentGate } from './gate.js'
import { Host } from './host.js'
import { HostStatsReader } from './host-stats.js'
import { hostVerbs } from './host-verbs.js'
import { IdentityFile } from './identity.js'
import { Ledger } from './ledger.js'
import { Notify } from './notify.js'
import { Requests } from './requests.js'
import { debugService } from './services/debug.js'
import { hostService } from './services/host.js'
import { taskService } from './services/task.js'
import { watchService } from './services/watch.js'
import { taskMessage } from './task-message.js'
import { lockLevels, Tasks } from './tasks.js'
import { agentVersion } from './version.js'
import { WatchLog } from './watch-log.js'
import type { WatchState } from './watch-stream.js'

export type RunningAgent = { tlsPort: number | null; dump(): object; stop(): Promise<void> }

/**
 * The agent, put together: the only place that builds its parts. In this order it starts: what it was and
 * what it promised (identity, ledger), its doors, libvirt, storage, VMs; then it serves (recover.ts).
 */
export async function startAgent(config: AgentConfig, log: Logger): Promise<RunningAgent> {
  const clock = systemClock
  const run = commandRunner(log)
  const end = new AbortController()
  await mkdir(config.state_directory, { recursive: true, mode: 0o700 })
  await mkdir(config.run_directory, { recursive: true, mode: 0o755 })

  const identity = await IdentityFile.load(`${config.state_directory}/identity.json`)
  const certificates = new CertificateStore(`${config.state_directory}/tls`)
  const ledger = await Ledger.open(`${config.state_directory}/ledger`, clock, log)
  const bootId = await readBootId()

  const watchLog = new WatchLog<WatchState>(clock.newId())
  const host = new Host(watchLog.incarnation, identity, () =>
    watchLog.publish('host', { host: host.message() })
  )
  const rememberEpoch = (epoch: number) => identity.rememberEpoch(epoch)
  const locks = new Locks(lockLevels)
  const requests = new Requests(ledger, rememberEpoch)
  const tasks = new Tasks({
    ...{ ledger, rememberEpoch, locks, clock, log },
    onChange: (id, task) => watchLog.publish(`task/${id}`, task && { task: taskMessage(task) })
  })

  const libvirt = Libvirt.open({
    log,
    socketPath: config.libvirt_socket,
    onUp: () => void refresh().catch((error: unknown) => log.warn({ err: error }, 'capabilities not read'))
  })
  const refresh = async (signal = end.signal) =>
    host.learn(await readCapabilities({ libvirt, config, run }, signal))
  const useCertificates = async (fresh: Certificates) => {
    server.reload(fresh)
    if (config.migration_tls) await installMigrationCertificates(config.migration_tls_directory, fresh)
  }

  const stats = new HostStatsReader(clock, config.state_directory)
  const watchers = { count: 0 }
  const dump = () => ({ identity: identity.now, tasks: tasks.list(), locks: locks.dump(), watchers })

  const server = new RpcServer({
    ...{ log, clock },
    contract: { descriptorSet, standardServices },
    trust: { installation: () => identity.now.installationId, denies: caller => identity.denies(caller) },
    audit: entry => log.info({ audit: entry }, 'audit'),
    gate: agentGate({ rule: () => identity.rule(), isRecovering: () => host.isRecovering, rememberEpoch })
  })
  const onChange = () => watchLog.publish('host', { host: host.message() })
  const verbs = hostVerbs({ config, host, identity, certificates, run, refresh, useCertificates, onChange })
  const hello = () => ({
    hostGeneration: identity.now.hostGeneration,
    ...{ bootId, agentVersion, recovering: host.isRecovering }
  })
  server
    .add(agentServices.host, hostService(verbs, requests))
    .add(agentServices.task, taskService(tasks))
    .add(agentServices.watch, watchService({ log: watchLog, clock, hello, samples: () => null }, watchers))
    .add(agentServices.debug, debugService(dump, log))
    .addStandard()

  await server.listenUnix(`${config.run_directory}/agent.sock`)
  const tlsPort = await openTlsDoor()
  host.stats = await stats.read()
  await refresh()
  host.recovered()
  server.health.ready = true
  const notify = new Notify(run, clock, log)
  await notify.ready()
  log.info({ host: identity.now.hostId, tlsPort, version: agentVersion }, 'agent serves')

  return { tlsPort, dump, stop }

  async function openTlsDoor(): Promise<number | null> {
    const loaded = await certificates.load()
    if (loaded === null) {
      log.warn('this host is not enrolled: only the local socket is open')
      return null
    }
    await useCertificates(loaded)
    const [, bindAddress = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(config.listen) ?? []
    return server.listenTls({
      host: bindAddress,
      port: Number(port),
      certificates: loaded,
      allowAnonymous: false
    })
  }

  /** Nothing of the VMs ends with the agent. */
  async function stop(): Promise<void> {
    server.health.ready = false
    await notify.stopping()
    await tasks.stop(seconds(10))
    end.abort()
    await server.stop(seconds(2))
    await libvirt.close()
    stats.close()
    await ledger.close()
  }
}
