import { Fault } from '../../common/fault.js'
import type { AllJobs } from '../jobs/kinds.js'
import { upgradeContext, type WantedUpgrade } from '../jobs/upgrade-host.js'
import type { Claim } from '../store/claims.js'
import { host, noteHost, updateHost } from '../store/hosts.js'
import type { Tx } from '../store/query.js'

// Orders of jobs on hosts, for people and for jobs that have them as parts. A part has no claims of its own: the
// job that it belongs to holds the host.

type Jobs = Pick<AllJobs, 'create' | 'createOver'>
export type HostOrder = { id?: string; actor: string; requestId?: string; isPart?: true }

const claimsOn = (hostId: string, { isPart }: HostOrder): Claim[] =>
  isPart ? [] : [{ type: 'host', id: hostId, mode: 'change' }]

export function orderDeactivation(jobs: Jobs, tx: Tx, hostId: string, order: HostOrder): string {
  const { isPart: _, ...who } = order
  const { name, mode, status } = host(tx, hostId)
  const objects = { host: hostId }
  if (mode === 'maintenance') {
    return jobs.createOver(tx, 'host.deactivate', { objects, ...who }, { note: 'is so already' })
  }
  if (status !== 'up' && status !== 'non_operational') {
    throw new Fault('WRONG_STATE', `host ${name} is ${status}; it must be up for its VMs to move away`)
  }
  const context = { hostId, storageDomainIds: [] }
  const id = jobs.create(tx, 'host.deactivate', { context, objects, claims: claimsOn(hostId, order), ...who })
  updateHost(tx, hostId, { mode: 'preparing' })
  return id
}

export function orderActivation(jobs: Jobs, tx: Tx, hostId: string, order: HostOrder): string {
  const { isPart: _, ...who } = order
  const { name, mode } = host(tx, hostId)
  const objects = { host: hostId }
  if (mode === 'active') {
    return jobs.createOver(tx, 'host.activate', { objects, ...who }, { note: 'is so already' })
  }
  if (mode === 'pending') {
    throw new Fault('NOT_ENROLLED', `host ${name} has no agent yet`, { facts: { host: hostId } })
  }
  // Somebody wants it: power saving has no say about it any more.
  noteHost(tx, hostId, { rested: 0 })
  return jobs.create(tx, 'host.activate', {
    ...{ context: { hostId }, objects, claims: claimsOn(hostId, order), ...who }
  })
}

export function orderUpgrade(jobs: Jobs, tx: Tx, wanted: WantedUpgrade, order: HostOrder): string {
  const { isPart: _, ...who } = order
  const { hostId } = wanted
  const { name, mode, status } = host(tx, hostId)
  if (status !== 'up' && status !== 'maintenance' && status !== 'non_operational') {
    throw new Fault(
      'WRONG_STATE',
      `host ${name} is ${status}; it must be up, or in maintenance, to be upgraded`
    )
  }
  return jobs.create(tx, 'host.upgrade', {
    context: upgradeContext(wanted, mode === 'active'),
    objects: { host: hostId },
    claims: [{ type: 'host', id: hostId, mode: 'change' }],
    ...who
  })
}
