import { bytes } from '../common/units.js'
import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { readDirect, writeDirect } from './direct-io.js'
import type { StorageDomain } from './storage-domain.js'
import { hostIdOffset } from './format/leases-layout.js'
import { clearedHostRecord, readSanlockRecord } from './format/sanlock-record.js'
import type { Operation } from './operation.js'

export type ClearHostLease = {
  sanlockHostId: number
  hostName: string
  generation: number
  /** The record's time stamp when the host was first seen off; a renewal since then refuses the clearing. */
  timestamp: number
  /** Id of the proof of power-off, for the log. */
  proofId: string
}

/**
 * Frees all leases of a host that is proven off, by writing its record as the host itself would when it leaves.
 * One sector, alone among all hosts, and only while the record is exactly the one that the proof speaks of.
 * The one exception from being manager: where the dead host held the role, nobody can take it before this.
 */
export async function clearHostLease(
  storageDomain: StorageDomain,
  op: Operation,
  request: ClearHostLease,
  ourHostId: number | null,
  signal: AbortSignal
): Promise<void> {
  const { identity, special } = storageDomain
  if (request.sanlockHostId === ourHostId) {
    throw new Fault('WRONG_STATE', `host id ${ourHostId} is this host's own`)
  }
  await using manager = await roleOrDeadOwner(storageDomain, request, signal)
  void manager

  const { sectorSize } = identity.geometry
  const at = bytes(hostIdOffset(request.sanlockHostId, sectorSize))
  const sector = await readDirect(special.ids, at, sectorSize)
  if (isFree(sector)) return
  const proof = {
    lockspace: identity.id,
    sanlockHostId: request.sanlockHostId,
    hostName: request.hostName,
    generation: BigInt(request.generation),
    timestamp: BigInt(request.timestamp)
  }
  const cleared = refusedAsState(() => clearedHostRecord(sector, proof))
  await crashpoint('host-lease.clear/write')
  await writeDirect(special.ids, at, cleared)
  await crashpoint('host-lease.clear/done')
  if (!(await readDirect(special.ids, at, sectorSize)).equals(cleared)) {
    throw new Fault(
      'WRONG_STATE',
      `the record of host id ${request.sanlockHostId} changed while it was cleared`
    )
  }
  op.log.warn({ ...request, storageDomain: identity.id }, 'leases of a dead host cleared')
}

async function roleOrDeadOwner({ leases }: StorageDomain, request: ClearHostLease, signal: AbortSignal) {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(5000)])
  try {
    return await leases.asManager(patience)
  } catch (error) {
    signal.throwIfAborted()
    const owner = await leases.managerOwner()
    if (owner?.sanlockHostId === request.sanlockHostId) return { [Symbol.asyncDispose]: async () => {} }
    throw error
  }
}

function isFree(sector: Buffer): boolean {
  const record = readSanlockRecord(sector)
  return record?.kind === 'delta' && record.checksumValid && record.timestamp === 0n
}

function refusedAsState(work: () => Buffer): Buffer {
  try {
    return work()
  } catch (cause) {
    throw new Fault('WRONG_STATE', cause instanceof Error ? cause.message : 'the record is another', {
      cause
    })
  }
}
