import { hostsOfCluster } from '../store/hosts.js'
import { sql, type Reader } from '../store/query.js'
import { managedCounts } from '../store/storage-domains.js'
import type { HostPower, RestingHost } from './decide.js'

// What the power saver needs to know of hosts, from the store.

/** A host that was told to start is waited for so long. */
const bootLimit = 15 * 60_000

export function hostPowerOf(reader: Reader, clusterId: string): Map<string, HostPower> {
  const claimed = new Set(
    reader
      .all(
        sql
          .selectFrom('claim')
          .select('objectId')
          .where('objectType', '=', 'host')
          .where('mode', '<>', 'read')
      )
      .map(({ objectId }) => objectId)
  )
  const external = new Set(
    reader
      .all(sql.selectFrom('vm').select('hostId').where('isExternal', '=', 1).where('status', '<>', 'down'))
      .map(({ hostId }) => hostId)
  )
  const leaving = new Set(
    reader
      .all(sql.selectFrom('vm').select('migratingToHostId').where('migratingToHostId', 'is not', null))
      .map(({ migratingToHostId }) => migratingToHostId)
  )
  const managed = managedCounts(reader)
  return new Map(
    hostsOfCluster(reader, clusterId).map(({ id, power, keepsPower }) => [
      id,
      {
        hasPower: power.isEnabled && power.devices.length > 0,
        ...{ keepsPower: keepsPower === 1, isManager: managed.has(id) },
        ...{ isBusy: claimed.has(id) || leaving.has(id), hasExternalVms: external.has(id) }
      }
    ])
  )
}

/** Hosts that power saving has put to rest, and how many are on their way to or from it. */
export function restingHosts(
  reader: Reader,
  clusterId: string,
  isHeard: (hostId: string) => boolean,
  now: number
): { resting: RestingHost[]; underWay: number } {
  const hosts = hostsOfCluster(reader, clusterId)
  const resting: RestingHost[] = []
  let underWay = 0
  for (const { id, name, mode, rested, status } of hosts) {
    // One that a person empties is on no way to rest, and others may have to be woken for its VMs.
    if (isWorkedOn(reader, id, rested === 1 ? powerJobs : wakingJobs)) underWay++
    else if (mode === 'active' && status === 'initializing') underWay++
    else if (rested === 1 && mode === 'maintenance') {
      if (isHeard(id)) resting.push({ hostId: id, name, state: 'maintenance' })
      else if (wasSwitchedOn(reader, id, now)) underWay++
      else resting.push({ hostId: id, name, state: 'off' })
    }
  }
  return { resting, underWay }
}

/** Hosts that rest and can be woken, or that are on their way back into service. */
export const comingHosts = (reader: Reader, clusterId: string): string[] =>
  hostsOfCluster(reader, clusterId)
    .filter(({ id, mode, rested }) => {
      return (rested === 1 && mode === 'maintenance') || isWorkedOn(reader, id, ['host.activate'])
    })
    .map(({ id }) => id)

const wakingJobs = ['host.activate', 'host.fence']
const powerJobs = ['host.deactivate', ...wakingJobs]

const isWorkedOn = (reader: Reader, hostId: string, kinds: readonly string[]): boolean =>
  reader.first(
    sql
      .selectFrom('job')
      .innerJoin('claim', 'claim.jobId', 'job.id')
      .select('job.id')
      .where('claim.objectType', '=', 'host')
      .where('claim.objectId', '=', hostId)
      .where('job.kind', 'in', kinds)
      .where('job.ended', 'is', null)
      .limit(1)
  ) !== null

/** A start of the host that may still be under way: the last word about its power was "on". */
function wasSwitchedOn(reader: Reader, hostId: string, now: number): boolean {
  const rows = reader.all(
    sql
      .selectFrom('job')
      .select(['contextJson', 'ended'])
      .where('kind', '=', 'host.fence')
      .where('state', '=', 'succeeded')
      .where('ended', '>', now - bootLimit)
      .orderBy('ended', 'desc')
  )
  for (const { contextJson } of rows) {
    const context = JSON.parse(contextJson) as { hostId?: string; action?: string }
    if (context.hostId === hostId && context.action !== 'status') return context.action === 'on'
  }
  return false
}
