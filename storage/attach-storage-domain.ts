import { crashpoint, idempotent } from '../common/crashpoint.js'
import { sleep, type Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { seconds } from '../common/units.js'
import { readDirect } from './direct-io.js'
import type { StorageDomain } from './storage-domain.js'
import { hostRecords, HostWatch, recordsLength } from './host-records.js'

/**
 * Writes the data center into the metadata, also of a storage domain that oVirt made: nothing else is converted.
 * Refused while another data center owns it, or while any host renews its id there.
 */
export async function attachStorageDomain(
  storageDomain: StorageDomain,
  dataCenterId: string,
  clock: Clock,
  signal: AbortSignal
): Promise<void> {
  const { identity } = storageDomain
  const { poolIds } = await identity.metadata()
  const [owner] = poolIds
  if (owner === dataCenterId && poolIds.length === 1) return
  if (owner !== undefined) {
    throw new Fault('WRONG_STATE', `storage domain ${identity.id} belongs to data center ${owner}`, {
      facts: { storageDomainId: identity.id, dataCenterId: owner }
    })
  }
  await throwIfAlive(storageDomain, clock, signal)
  await idempotent('storage-domain.attach/metadata', () => {
    return identity.change({ poolIds: [dataCenterId], role: 'regular' }, 'storage-domain.attach/metadata')
  })
  await throwIfOvertaken(storageDomain, dataCenterId)
  await crashpoint('storage-domain.attach/done')
}

/** Leaves a storage domain that any installation, oVirt's too, may attach. */
export async function detachStorageDomain(
  storageDomain: StorageDomain,
  clock: Clock,
  signal: AbortSignal
): Promise<void> {
  const { identity } = storageDomain
  const { poolIds } = await identity.metadata()
  if (poolIds.length === 0) return
  await throwIfAlive(storageDomain, clock, signal)
  await idempotent('storage-domain.detach/metadata', () => {
    return identity.change({ poolIds: [], role: 'regular' }, 'storage-domain.detach/metadata')
  })
  await crashpoint('storage-domain.detach/done')
}

/** Two hosts that attach at once both write; the rename that came last stands, and the other host must know. */
async function throwIfOvertaken({ identity }: StorageDomain, dataCenterId: string): Promise<void> {
  const { poolIds } = await identity.metadata()
  if (poolIds[0] === dataCenterId) return
  throw new Fault(
    'WRONG_STATE',
    `storage domain ${identity.id} was attached to data center ${poolIds[0]} meanwhile`
  )
}

/**
 * No host id may be renewed while we look. Records that are all free need no looking; else each must stay as it
 * is for longer than a living host can leave it.
 */
export async function throwIfAlive(
  { identity, special }: StorageDomain,
  clock: Clock,
  signal: AbortSignal
): Promise<void> {
  if (!identity.shared) return
  const watch = new HostWatch(identity.ioTimeout)
  const enough = 3 * identity.ioTimeout + 5
  for (const began = clock.monotonic(); ; await sleep(clock, seconds(1), signal)) {
    const ids = await readDirect(special.ids, 0, recordsLength(identity.geometry))
    const now = clock.monotonic()
    watch.observe(hostRecords(ids, identity.geometry), now)
    const hosts = watch.hosts(now)
    const alive = hosts.find(({ state }) => state === 'live')
    if (alive) {
      throw new Fault(
        'WRONG_STATE',
        `host id ${alive.sanlockHostId} (${alive.hostName}) uses storage domain ${identity.id}`,
        {
          facts: { storageDomainId: identity.id, sanlockHostId: String(alive.sanlockHostId) }
        }
      )
    }
    if (hosts.every(({ state }) => state === 'free') || now - began > enough) return
  }
}
