import { setImmediate } from 'node:timers/promises'
import { sleep, type Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { growth, type UseReport } from '../common/own-use.js'
import { seconds } from '../common/units.js'
import type { Task__Output } from '../proto/generated/types/drover/agent/v1/Task.js'
import type { Volume__Output } from '../proto/generated/types/drover/agent/v1/Volume.js'
import { agentServices } from '../proto/load.js'
import type { Agents } from './agents.js'
import { found, type Finding, type Findings } from './finding.js'
import { leaseFindings } from './audit-leases.js'
import { livenessFindings } from './audit-liveness.js'
import { quotaFindings } from './audit-quotas.js'
import { hostFindings, storageFindings, storeFindings, type HostLook } from './audit-rules.js'
import { secretFindings } from './audit-secrets.js'
import { verifyAuditTrail } from './store/audit-records.js'
import { enrolledHosts, type Host } from './store/hosts.js'
import { storageDomains, viewsOfHost } from './store/storage-domains.js'
import type { Secrets } from './store/secrets.js'
import type { Store } from './store/store.js'

type Options = {
  store: Store
  secrets: Secrets
  agents: Agents
  /** What this coordinator uses of its machine. */
  use: UseReport
  clock: Clock
  log: Logger
}

/**
 * Compares three views and changes nothing: the store, what hosts say they run, and what lies on storage. What
 * is only on its way is no finding: everything is looked at twice, and only what both looks show counts.
 */
export async function runAudit(
  options: Options,
  storageDomainId: string | null,
  signal: AbortSignal
): Promise<Findings> {
  const first = await lookOnce(options, storageDomainId, signal)
  if (first.findings.length === 0) return first
  await sleep(options.clock, seconds(2), signal)
  const second = await lookOnce(options, storageDomainId, signal)
  const seen = new Set(first.findings.map(keyOf))
  return { ...second, findings: second.findings.filter(finding => seen.has(keyOf(finding))) }
}

const keyOf = ({ invariant, object, hostId }: Finding) => [invariant, object, hostId].join(' ')

async function lookOnce(options: Options, only: string | null, signal: AbortSignal): Promise<Findings> {
  const { store, agents, clock } = options
  const findings: Finding[] = []
  const missed: string[] = []
  const hosts = enrolledHosts(store.read).filter(({ mode }) => mode !== 'maintenance')
  const reachable = hosts.filter(({ id, name }) => {
    if (!agents.isReady(id)) missed.push(`host ${name} was not asked`)
    return agents.isReady(id)
  })
  const views = await Promise.all(reachable.map(({ id }) => askHost(options, id, signal)))
  const known = views.flatMap(view => view ?? [])
  const vms = known.reduce((sum, view) => sum + view.vms.length, 0)
  const pause = async () => {
    signal.throwIfAborted()
    await setImmediate()
  }
  if (only === null) {
    findings.push(...hostFindings(store.read, known, clock.wall()))
    findings.push(...storeFindings(store.read, clock.wall()), ...livenessFindings(store.read, clock.wall()))
    findings.push(...quotaFindings(store.read), ...(await leaks(options, reachable, signal)))
    findings.push(...(await secretFindings(store.read, options.secrets, pause)))
    const { firstBad } = await verifyAuditTrail(store.read, pause)
    const object = `audit record ${firstBad}`
    if (firstBad > 0) findings.push(found('I18', object, 'the chain of audit records is broken there'))
    for (const text of store.integrity()) findings.push(found('I3', 'store', text))
  }
  const wanted = storageDomains(store.read).filter(({ id }) => only === null || id === only)
  const domains = wanted.filter(({ phase }) => phase === 'active')
  for (const { name, phase } of wanted)
    if (phase !== 'active') missed.push(`storage domain ${name} is ${phase} and was not looked at`)
  let lookedAt = 0
  for (const { id, name } of domains) {
    const reader = reachable.find(host =>
      viewsOfHost(store.read, host.id).some(view => view.storageDomainId === id && view.health === 'active')
    )
    if (reader) {
      findings.push(...(await auditStorage(options, id, reader.id, known, signal)))
      lookedAt++
    } else missed.push(`storage domain ${name} was not looked at`)
  }
  const looked = `${vms} VMs, ${reachable.length} hosts, ${lookedAt} storage domains`
  return { findings, scope: [looked, ...missed].join('; ') }
}

/** I19: who uses far more than when it was warm. */
async function leaks(options: Options, hosts: readonly Host[], signal: AbortSignal): Promise<Finding[]> {
  const { agents, log, use } = options
  const own = growth(use).map(text => found('I19', 'coordinator', `uses ${text}`))
  const theirs = hosts.map(async ({ id, name }) => {
    try {
      const { json } = await agents.call(id, agentServices.debug.Dump, {}, signal)
      const inside = JSON.parse(json) as { use?: UseReport }
      return growth(inside.use ?? unknownUse).map(text =>
        found('I19', `agent of ${name}`, `uses ${text}`, id)
      )
    } catch (error) {
      if (signal.aborted) throw error
      log.info({ err: error, host: id }, 'the audit could not look into an agent')
      return []
    }
  })
  return [...own, ...(await Promise.all(theirs)).flat()]
}

const unknownUse: UseReport = { warm: null, latest: null }

async function askHost({ agents, log }: Options, hostId: string, signal: AbortSignal) {
  try {
    const [vms, tasks] = await Promise.all([
      everyPage(pageToken =>
        agents
          .call(hostId, agentServices.vm.ListVms, { pageSize: 1000, pageToken }, signal)
          .then(page => ({ items: page.vms, next: page.nextPageToken }))
      ),
      everyPage<Task__Output>(pageToken =>
        agents
          .call(hostId, agentServices.task.ListTasks, { pageSize: 1000, pageToken }, signal)
          .then(page => ({ items: page.tasks, next: page.nextPageToken }))
      )
    ])
    return { hostId, vms, tasks }
  } catch (error) {
    if (signal.aborted) throw error
    log.info({ err: error, host: hostId }, 'the audit could not ask a host')
    return null
  }
}

async function auditStorage(
  { store, agents }: Options,
  storageDomainId: string,
  hostId: string,
  looks: readonly HostLook[],
  signal: AbortSignal
): Promise<Finding[]> {
  const { storage } = agentServices
  const volumes = await everyPage<Volume__Output>(pageToken =>
    agents
      .call(hostId, storage.ListVolumes, { storageDomainId, pageSize: 1000, pageToken }, signal)
      .then(page => ({ items: page.volumes, next: page.nextPageToken }))
  )
  const { leases } = await agents.call(hostId, storage.ListLeases, { storageDomainId }, signal)
  const own = await agents.call(hostId, storage.AuditStorageDomain, { storageDomainId }, signal, seconds(300))
  const theirs = own.findings.map(({ invariant, object, text }) => ({ invariant, object, text, hostId }))
  return [
    ...theirs,
    ...storageFindings(store.read, storageDomainId, volumes, leases, hostId),
    ...leaseFindings(store.read, storageDomainId, leases, looks)
  ]
}

async function everyPage<T>(ask: (token: string) => Promise<{ items: T[]; next: string }>): Promise<T[]> {
  const all: T[] = []
  for (let token = ''; ;) {
    const { items, next } = await ask(token)
    all.push(...items)
    if (next === '') return all
    token = next
  }
}
