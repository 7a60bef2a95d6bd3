import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { parseHostPort } from '../common/address-rules.js'
import { systemClock, timestamp } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { commandRunner } from '../common/run.js'
import { RpcServer } from '../common/server.js'
import { seconds } from '../common/units.js'
import { coordinatorServices, descriptorSet, standardServices } from '../proto/load.js'
import { auditTrail } from './audit-trail.js'
import type { CoordinatorConfig } from './config.js'
import { secretsKey } from './keys.js'
import { takeEpoch } from './leadership.js'
import { Notify } from './notify.js'
import { clusterService } from './services/cluster.js'
import { coordinatorService, type About } from './services/coordinator.js'
import { enrolmentService } from './services/enrolment.js'
import { eventService } from './services/event.js'
import { hostService } from './services/host.js'
import { Lists } from './services/list.js'
import { Mutations } from './services/mutation.js'
import { addEvent } from './store/events.js'
import { Secrets } from './store/secrets.js'
import { settingOr } from './store/settings.js'
import { Store } from './store/store.js'
import { CertificateAuthority } from './trust/ca.js'
import { Denied } from './trust/denied.js'
import { Enrolment } from './trust/enrolment.js'
import { OwnIdentity, ownAddresses, ownNames } from './trust/own-identity.js'
import { RateLimit } from './trust/rate-limit.js'
import { coordinatorVersion } from './version.js'

export type RunningCoordinator = { tlsPort: number; epoch: number; dump(): object; stop(): Promise<void> }

/**
 * The coordinator, put together: the only place that builds its parts. In this order it starts: the store,
 * which no other process may have open; the epoch, before any command; its doors; then it talks to hosts.
 */
export async function startCoordinator(config: CoordinatorConfig, log: Logger): Promise<RunningCoordinator> {
  const clock = systemClock
  const run = commandRunner(log)
  const end = new AbortController()
  await mkdir(config.state_directory, { recursive: true, mode: 0o700 })

  const store = await Store.open(`${config.state_directory}/store.db`, log)
  const epoch = takeEpoch(store)
  const ca = await CertificateAuthority.open(`${config.state_directory}/trust`, clock)
  const secrets = new Secrets(await secretsKey(`${config.state_directory}/secrets.key`, store, log))
  const { dataCenterId, coordinatorId, pageTokenKey } = store.transaction(tx => ({
    dataCenterId: settingOr(tx, 'dataCenterId', () => clock.newId()),
    coordinatorId: settingOr(tx, 'coordinatorId', () => clock.newId()),
    pageTokenKey: settingOr(tx, 'pageTokenKey', () => randomBytes(32).toString('base64'))
  }))
  const about: About = {
    ...{ installationId: ca.installationId, dataCenterId, version: coordinatorVersion, epoch },
    ...{ incarnation: clock.newId(), started: clock.wall(), fingerprint: ca.fingerprint },
    backupFolder: config.backup_directory
  }

  const own = new OwnIdentity(ca, coordinatorId, ownNames(config), config.certificate_seconds, clock)
  await own.renewIfDue()
  const denied = new Denied(store.read, clock)
  const tries = new RateLimit(5, seconds(60), clock)
  const enrolment = new Enrolment({
    ...{ store, ca, denied, clock, tries },
    lifeSeconds: config.certificate_seconds,
    tokenSeconds: config.token_seconds
  })

  const mutations = new Mutations(store, clock)
  const lists = new Lists(Buffer.from(pageTokenKey, 'base64'))
  const now = { stats: () => null, lastHeard: () => null }
  const dump = () => ({ about: { ...about, started: timestamp(about.started) }, server: server.dump() })
  const place = { address: config.advertise || standardAddress(config.listen), fingerprint: ca.fingerprint }

  const server = new RpcServer({
    ...{ log, clock },
    contract: { descriptorSet, standardServices },
    trust: { installation: () => ca.installationId, denies: identity => denied.denies(identity) },
    audit: auditTrail(store, log)
  })
  const runAudit = async () => ({ findings: [], scope: '' })
  server
    .add(coordinatorServices.cluster, clusterService(lists, mutations))
    .add(
      coordinatorServices.host,
      hostService({ lists, mutations, enrolment, denied, secrets, now, place, jobs: {} })
    )
    .add(coordinatorServices.enrolment, enrolmentService(enrolment, ca))
    .add(coordinatorServices.event, eventService(store, lists, runAudit))
    .add(coordinatorServices.coordinator, coordinatorService(about, mutations, dump))
    .addStandard()

  store.transaction(tx => {
    const text = `the coordinator started, version ${coordinatorVersion}, epoch ${epoch}`
    addEvent(tx, { severity: 'info', kind: 'coordinator.started', text }, clock.wall())
  })
  await server.listenUnix(config.socket)
  const { host = '0.0.0.0', port = 7443 } = listenPlace(config.listen)
  const tlsPort = await server.listenTls({ host, port, certificates: own.certificates, allowAnonymous: true })
  server.health.ready = true
  const notify = new Notify(run, clock, log)
  await notify.ready()
  log.info({ tlsPort, epoch, version: coordinatorVersion }, 'coordinator serves')
  return { tlsPort, epoch, dump, stop }

  /** The journal is the state: nothing is waited for but answers on their way. */
  async function stop(): Promise<void> {
    server.health.ready = false
    await notify.stopping()
    end.abort()
    await server.stop(seconds(5))
    store.close()
  }
}

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
