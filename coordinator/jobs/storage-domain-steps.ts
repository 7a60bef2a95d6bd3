import type { Clock } from '../../common/clock.js'
import { within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import { retry } from '../../common/retry.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { setting } from '../store/settings.js'
import { host, hosts as allHosts } from '../store/hosts.js'
import type { Reader } from '../store/query.js'
import { storageDomain, viewsOfHost, type StorageConnection } from '../store/storage-domains.js'
import type { Store } from '../store/store.js'
import { wireConnection } from '../storage-connection.js'
import { eachOf, endTasks, performTask, sharedProgress, unlessAbsent, type Asking } from './hosts.js'
import { untilSo } from './until.js'
import { faultFrom, verdictOn } from './verdict.js'
import type { JobWorld } from './world.js'

// A storage domain and the hosts that use it: what its jobs have in common.

const { storage } = agentServices

type Warns = { log: { warn(facts: object, message: string): void } }

/** Hosts that should have every active storage domain now. */
export const hostsInService = (reader: Reader): string[] =>
  allHosts(reader)
    .filter(({ status }) => status === 'up' || status === 'preparing_for_maintenance')
    .map(({ id }) => id)

/** The data center of this installation: what makes a storage domain ours. */
export function dataCenterId(reader: Reader): string {
  const id = setting(reader, 'dataCenterId')
  if (id === null) throw new Error('the store names no data center')
  return id
}

/** Connects and activates on one host; both bear being asked again. */
export async function joinOn(
  { store, hosts }: JobWorld,
  act: Asking & Warns,
  hostId: string,
  storageDomainId: string,
  connection: StorageConnection
): Promise<void> {
  const { sanlockHostId } = host(store.read, hostId)
  const connect = { storageDomainId, connection: wireConnection(connection) }
  await performTask(
    hosts,
    act,
    hostId,
    storage.ConnectStorageDomain,
    connect,
    `connect/${hostId}/${storageDomainId}`
  )
  const activate = { storageDomainId, sanlockHostId }
  await performTask(
    hosts,
    act,
    hostId,
    storage.ActivateStorageDomain,
    activate,
    `activate/${hostId}/${storageDomainId}`
  )
  await untilSeenActive(store, act, hostId, storageDomainId)
}

/**
 * What comes next asks the store who has the storage domain, and the store knows it from the host's own stream.
 * A host that does not tell soon is no failure of this job: its problem is shown where hosts are.
 */
async function untilSeenActive(
  store: Store,
  { log, signal }: Asking & Warns,
  hostId: string,
  storageDomainId: string
): Promise<void> {
  const isActive = () =>
    viewsOfHost(store.read, hostId).some(
      view => view.storageDomainId === storageDomainId && view.health === 'active'
    )
  try {
    await untilSo(store, { kind: 'storageDomain', id: storageDomainId }, isActive, within(untilTold, signal))
  } catch (error) {
    if (signal.aborted) throw error
    log.warn({ host: hostId, storageDomain: storageDomainId }, 'activated, but the host has not told of it')
  }
}

/** The opposite, on one host. A host that is proven to be stopped has left already. */
export async function leaveOn(
  { hosts }: JobWorld,
  act: Asking,
  hostId: string,
  storageDomainId: string,
  part = ''
): Promise<void> {
  if (hosts.isGone(hostId)) return
  for (const verb of ['connect', 'activate']) {
    await endTasks(hosts, act, hostId, `${verb}/${hostId}/${storageDomainId}`)
  }
  const name = (verb: string) => [verb, hostId, storageDomainId, part].join('/')
  const request = { storageDomainId }
  await unlessAbsent(
    performTask(hosts, act, hostId, storage.DeactivateStorageDomain, request, name('deactivate'))
  )
  await unlessAbsent(
    performTask(hosts, act, hostId, storage.DisconnectStorageDomain, request, name('disconnect'))
  )
}

/**
 * On all hosts at once. One must succeed; what another cannot do now is its problem, shown as such, and tried
 * again by the loop that watches over hosts and their storage.
 */
export async function joinEverywhere(
  world: JobWorld,
  act: Asking & Warns,
  hostIds: readonly string[],
  storageDomainId: string
): Promise<void> {
  const { connection } = storageDomain(world.store.read, storageDomainId)
  const progress = sharedProgress(act, hostIds.length)
  const failures: unknown[] = []
  await eachOf(hostIds, 16, async (hostId, index) => {
    try {
      const one = { ...act, progress: progress(index) }
      await patiently(world.clock, act.signal, () => joinOn(world, one, hostId, storageDomainId, connection))
    } catch (error) {
      if (act.signal.aborted) throw error
      failures.push(error)
      act.log.warn({ err: error, host: hostId }, 'a host could not activate the storage domain')
    }
  })
  if (hostIds.length === 0) throw new Fault('NO_HOST', 'no host is up')
  if (failures.length === hostIds.length) throw faultFrom(failures[0])
}

const untilTold = seconds(10)
const patience = seconds(60)
const backoff = { first: seconds(0.2), most: seconds(5) }

/** One host of several: what says "perhaps later" is asked again, but not for as long as a whole step may take. */
export async function patiently<T>(clock: Clock, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const isFinal = (error: unknown) => verdictOn(error) !== 'again'
  try {
    return await retry(clock, backoff, work, isFinal, within(patience, signal))
  } catch (error) {
    if (signal.aborted || error instanceof Fault) throw error
    throw new Fault('DEADLINE', `the host did not answer within ${patience} s`, { cause: error })
  }
}
