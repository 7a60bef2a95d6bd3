import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { parseHostPort } from '../common/address-rules.js'
import { systemClock, timestamp } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { commandRunner } from '../common/run.js'
import { RpcServer } from '../common/server.js'
import { seconds } from '../common/units.js'
import { coordinatorServices, descriptorSet, standardServices } from '../proto/load.js'
import { Agents } from './agents.js'
import { AuditTrail } from './audit-trail.js'
import { ChangeLog } from './change-log.js'
import { chores } from './chores.js'
import { ClusterLoop } from './cluster-loop.js'
import type { CoordinatorConfig } from './config.js'
import { HostPower } from './ha/fencing/host-power.js'
import { Ha } from './ha/ha.js'
import { jobServices } from './job-services.js'
import { secretsKey } from './keys.js'
import { Leadership } from './leadership.js'
import { ManagerLoop } from './managers/loop.js'
import { Measured } from './measured.js'
import { Notify } from '../common/notify.js'
import { UseWatch } from '../common/own-use.js'
import { Observer } from './observe.js'
import { registerJobs } from './register-jobs.js'
import { runAudit } from './run-audit.js'
import { coordinatorService, type About } from './services/coordinator.js'
import { enrolmentService } from './services/enrolment.js'
import { eventService } from './services/event.js'
import { hostPower } from './services/host-power.js'
import { hostService } from './services/host.js'
import { sanService } from './services/san.js'
import { Lists } from './services/list.js'
import { Mutations } from './services/mutation.js'
import { watchService } from './services/watch.js'
import { addEvent } from './store/events.js'
import { sql } from './store/query.js'
import { staleMark } from './store/stale-mark.js'
import { Secrets } from './store/secrets.js'
import { settingOr } from './store/settings.js'
import { Store } from './store/store.js'
import { StaleStore } from './stale-store.js'
import { CertificateAuthority } from './trust/ca.js'
import { Denied } from './trust/denied.js'
import { Enrolment } from './trust/enrolment.js'
import { OwnIdentity, ownAddresses, ownNames } from './trust/own-identity.js'
import { RateLimit } from './trust/rate-limit.js'
import { keepUp } from './upkeep.js'
import { coordinatorVersion } from './version.js'
import { idsOf, statesOf } from './watched-states.js'

export type RunningCoordinator = {
  tlsPort: number
  store: Store
  agents: Agents
  dump(): object
  stop(): Promise<void>
}

/**
 * The coordinator, put together: the only place that builds its parts. In this order it starts: the store,
 * which no other process may have open; the epoch, before any command; its doors; then it talks to hosts and
 * carries on what its last life left.
 */
export async function startCoordinator(config: CoordinatorConfig, log: Logger): Promise<RunningCoordinator> {
  const clock = systemClock
  const end = new AbortController()
  // All loops wait on it.
  setMaxListeners(0, end.signal)
  await mkdir(config.state_directory, { recursive: true, mode: 0o700 })

  const store = await Store.open(`${config.state_directory}/store.db`, log)
  const stale = new StaleStore(staleMark(store, clock))
  const leadership = new Leadership(store, stale, `${config.state_directory}/seen-epoch`, clock, log)
  const ca = await CertificateAuthority.open(`${config.state_directory}/trust`, clock)
  const use = new UseWatch(clock)
  const secrets = new Secrets(await secretsKey(`${config.state_directory}/secrets.key`, store, log))
  const { dataCenterId, coordinatorId, pageTokenKey, ticketKey } = store.transaction(tx => ({
    dataCenterId: settingOr(tx, 'dataCenterId', () => clock.newId()),
    coordinatorId: settingOr(tx, 'coordinatorId', () => clock.newId()),
    pageTokenKey: settingOr(tx, 'pageTokenKey', newKey),
    ticketKey: settingOr(tx, 'ticketKey', newKey)
  }))
  const about: About = {
    ...{ installationId: ca.installationId, dataCenterId, version: coordinatorVersion },
    ...{ incarnation: clock.newId(), started: clock.wall(), fingerprint: ca.fingerprint },
    backupFolder: config.backup_directory,
    epoch: () => leadership.epoch
  }

  const own = new OwnIdentity(ca, coordinatorId, ownNames(config), config.certificate_seconds, clock)
  await own.renewIfDue()
  const denied = new Denied(store.read, clock)
  const tries = new RateLimit(5, seconds(60), clock)
  const life = { lifeSeconds: config.certificate_seconds, tokenSeconds: config.token_seconds }
  const enrolment = new Enrolment({ store, ca, denied, clock, tries, ...life })

  const agents = new Agents({
    ...{ store, clock, log, installationId: ca.installationId },
    own: () => own.certificates,
    denies: identity => denied.denies(identity),
    epoch: () => leadership.epoch,
    incarnation: about.incarnation,
    onStale: (hostId, seen) => leadership.wasRefused(hostId, seen),
    onObeyed: hostId => leadership.wasObeyed(hostId)
  })
  const measured = new Measured()
  const observer = new Observer({ store, agents, measured, denied, stale, clock, log })
  const isHeard = (hostId: string) => observer.isHeard(hostId)
  const power = new HostPower({ store, clock, hosts: agents, secrets, isHeard })
  const { jobs, hostStorage } = registerJobs({
    ...{ store, hosts: agents, power, loads: measured, stale, clock, log, epoch: leadership.epoch }
  })
  const mayActUnasked = () => leadership.mayActUnasked(agents.ready())
  const ha = new Ha({
    ...{ store, loads: measured, clock, log, jobs, hosts: agents, power, stale, isHeard, mayActUnasked }
  })

  const trail = new AuditTrail(store, clock, log)
  const mutations = new Mutations(store, clock, trail)
  const lists = new Lists(Buffer.from(pageTokenKey, 'base64'))
  const statsOf = (vmId: string) => measured.vmStats(vmId)
  const now = {
    stats: (hostId: string) => measured.hostStats(hostId),
    lastHeard: (hostId: string) => observer.hostView(hostId).lastHeardWall,
    lacks: (hostId: string) => agents.lacks(hostId)
  }
  const place = { address: config.advertise || standardAddress(config.listen), fingerprint: ca.fingerprint }
  const withJobs = jobServices({
    ...{ mutations, lists, jobs, agents, loads: measured, statsOf },
    ticketKey: Buffer.from(ticketKey, 'base64')
  })
  const hostVerbs = { ...withJobs.host, ...hostPower({ mutations, jobs }) }
  const changes = new ChangeLog(store, about.incarnation)
  const states = statesOf(store.read, now, statsOf)
  const dump = () => ({
    about: {
      ...about,
      epoch: leadership.epoch,
      mayActUnasked: mayActUnasked(),
      isStale: stale.isStale,
      started: timestamp(about.started)
    },
    jobs: jobs.dump(),
    claims: store.read.all(sql.selectFrom('claim').selectAll()),
    hosts: observer.dump(),
    changes: changes.sequence,
    store: { bytes: store.size(), isFull: store.isFull },
    server: server.dump()
  })

  const server = new RpcServer({
    ...{ log, clock },
    contract: { descriptorSet, standardServices },
    trust: { installation: () => ca.installationId, denies: identity => denied.denies(identity) },
    gate: trail.gate,
    audit: trail.audit
  })
  server
    .add(coordinatorServices.cluster, withJobs.cluster)
    .add(coordinatorServices.placementPolicy, withJobs.placementPolicy)
    .add(coordinatorServices.affinityGroup, withJobs.affinityGroup)
    .add(coordinatorServices.quota, withJobs.quota)
    .add(coordinatorServices.qosProfile, withJobs.qosProfile)
    .add(
      coordinatorServices.host,
      hostService({ lists, mutations, enrolment, denied, secrets, now, place, jobs: hostVerbs })
    )
    .add(coordinatorServices.vm, withJobs.vm)
    .add(coordinatorServices.disk, withJobs.disk)
    .add(coordinatorServices.template, withJobs.template)
    .add(coordinatorServices.snapshot, withJobs.snapshot)
    .add(coordinatorServices.storageDomain, withJobs.storageDomain)
    .add(coordinatorServices.san, sanService(store, agents))
    .add(coordinatorServices.job, withJobs.job)
    .add(coordinatorServices.enrolment, enrolmentService(enrolment, ca))
    .add(
      coordinatorServices.event,
      eventService(store, lists, (id, signal) =>
        runAudit({ store, secrets, agents, use: use.report, clock, log }, id, signal)
      )
    )
    .add(
      coordinatorServices.watch,
      watchService({ log: changes, clock, stateOf: states, idsOf: kind => idsOf(store.read, kind) })
    )
    .add(coordinatorServices.coordinator, coordinatorService(about, mutations, stale, dump))
    .addStandard()

  store.transaction(tx => {
    const text = `the coordinator started, version ${coordinatorVersion}, epoch ${leadership.epoch}`
    addEvent(tx, { severity: 'info', kind: 'coordinator.started', text }, clock.wall())
  })
  await server.listenUnix(config.socket)
  const { host = '0.0.0.0', port = 7443 } = listenPlace(config.listen)
  const tlsPort = await server.listenTls({ host, port, certificates: own.certificates, allowAnonymous: true })
  observer.tend()
  jobs.start()
  const clusterLoop = new ClusterLoop({ store, jobs, loads: measured, isHeard, mayActUnasked, clock, log })
  const managerLoop = new ManagerLoop({
    ...{ store, hosts: agents, isHeard, mayActUnasked, clock, log },
    lacks: hostId => agents.lacks(hostId)
  })
  const loops = [
    ha.run(end.signal),
    hostStorage.run(end.signal),
    keepUp(
      chores({
        ...{ config, store, leadership, agents, observer, enrolment, denied, ca, own, clock, log },
        ...{ clusterLoop, managerLoop, use },
        reload: () => server.reload(own.certificates)
      }),
      clock,
      log,
      end.signal
    )
  ]
  server.health.ready = true
  const notify = new Notify(commandRunner(log), clock, log)
  await notify.ready()
  log.info({ tlsPort, epoch: leadership.epoch, version: coordinatorVersion }, 'coordinator serves')
  return { tlsPort, store, agents, dump, stop }

  /** The journal is the state: nothing is waited for but answers on their way. */
  async function stop(): Promise<void> {
    server.health.ready = false
    await notify.stopping()
    end.abort()
    await jobs.stop()
    await observer.stop()
    await Promise.allSettled(loops)
    await server.stop(seconds(2))
    agents.close()
    store.close()
  }
}

const newKey = () => randomBytes(32).toString('base64')

/** Port 0 asks the kernel for one. */
function listenPlace(listen: string): { host?: string; port?: number } {
  if (!listen.endsWith(':0')) return parseHostPort(listen) ?? {}
  return { host: listen.slice(0, -2).replace(/^\[|\]$/g, ''), port: 0 }
}

function standardAddress(listen: string): string {
  const { host = '' } = listenPlace(listen)
  const isAny = ['', '0.0.0.0', '::'].includes(host)
  const address = isAny ? (ownAddresses()[0] ?? 'localhost') : host
  const port = listen.slice(listen.lastIndexOf(':') + 1)
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
