import { crashpoint, idempotent } from '../common/crashpoint.js'
import { sleep, type Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { aloneAmongHosts, endVisit } from './alone-among-hosts.js'
import { seconds } from '../common/units.js'
import { readDirect } from './direct-io.js'
import type { StorageDomain } from './storage-domain.js'
import { hostRecords, HostWatch, recordsLength } from './host-records.js'

/** This host, as far as it changes a storage domain that nobody uses. */
export type Visitor = { sanlockHostId: number; clock: Clock }

/**
 * Writes the data center into the metadata, also of a storage domain that oVirt made: nothing else is converted.
 * Refused while another data center owns it, or while any host renews its id there.
 */
export async function attachStorageDomain(
  storageDomain: StorageDomain,
  dataCenterId: string,
  { sanlockHostId, clock }: Visitor,
  signal: AbortSignal
): Promise<void> {
  const { identity } = storageDomain
  if (await isOwnedBy(storageDomain, dataCenterId)) return endVisit(storageDomain, signal)
  await throwIfAlive(storageDomain, clock, signal)
  await using alone = await aloneOnLuns(storageDomain, sanlockHostId, signal)
  void alone
  // Another installation may have been quicker.
  if (await isOwnedBy(storageDomain, dataCenterId)) return
  await crashpoint('storage-domain.attach/alone')
  await idempotent('storage-domain.attach/metadata', () => {
    return identity.change({ poolIds: [dataCenterId], role: 'regular' }, 'storage-domain.attach/metadata')
  })
  await throwIfOvertaken(storageDomain, dataCenterId)
  await crashpoint('storage-domain.attach/done')
}

/** True: it is. A fault: it is somebody else's. */
async function isOwnedBy({ identity }: StorageDomain, dataCenterId: string): Promise<boolean> {
  const { poolIds } = await identity.metadata()
  const [owner] = poolIds
  if (owner === undefined) return false
  if (owner === dataCenterId && poolIds.length === 1) return true
  throw new Fault('WRONG_STATE', `storage domain ${identity.id} belongs to data center ${owner}`, {
    facts: { storageDomainId: identity.id, dataCenterId: owner }
  })
}

/** Leaves a storage domain that any installation, oVirt's too, may attach. */
export async function detachStorageDomain(
  storageDomain: StorageDomain,
  { sanlockHostId, clock }: Visitor,
  signal: AbortSignal
): Promise<void> {
  const { identity } = storageDomain
  if ((await identity.metadata()).poolIds.length === 0) return endVisit(storageDomain, signal)
  await throwIfAlive(storageDomain, clock, signal)
  await using alone = await aloneOnLuns(storageDomain, sanlockHostId, signal)
  void alone
  await crashpoint('storage-domain.detach/alone')
  await idempotent('storage-domain.detach/metadata', () => {
    return identity.change({ poolIds: [], role: 'regular' }, 'storage-domain.detach/metadata')
  })
  await crashpoint('storage-domain.detach/done')
}

/** LVM's metadata has one writer. Files are renamed into place, and who came last is found out. */
export async function aloneOnLuns(
  storageDomain: StorageDomain,
  sanlockHostId: number,
  signal: AbortSignal
): Promise<AsyncDisposable> {
  const { kind } = storageDomain.identity
  if (kind === 'iscsi' || kind === 'fcp') return aloneAmongHosts(storageDomain, sanlockHostId, signal)
  return { [Symbol.asyncDispose]: async () => {} }
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
 * is for longer than a living host can leave it. A visit of this host that was cut off is no use of it.
 */
export async function throwIfAlive(
  { identity, special, leases, onHost }: StorageDomain,
  clock: Clock,
  signal: AbortSignal
): Promise<void> {
  if (!identity.shared) return
  const own = (await onHost.isLinked()) ? null : await leases.joinedAs(signal)
  const watch = new HostWatch(identity.ioTimeout)
  const enough = 3 * identity.ioTimeout + 5
  for (const began = clock.monotonic(); ; await sleep(clock, seconds(1), signal)) {
    const ids = await readDirect(special.ids, 0, recordsLength(identity.geometry))
    const now = clock.monotonic()
    const records = hostRecords(ids, identity.geometry)
    watch.observe(
      records.filter(({ sanlockHostId }) => sanlockHostId !== own),
      now
    )
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
