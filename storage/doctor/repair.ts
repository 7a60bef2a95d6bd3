import { chmod, chown, lstat, writeFile } from 'node:fs/promises'
import { idempotent } from '../../common/crashpoint.js'
import { Fault } from '../../common/fault.js'
import { bytes } from '../../common/units.js'
import { exists } from '../files.js'
import type { VolumeMetadata } from '../format/volume-metadata.js'
import type { Operation } from '../operation.js'
import { backingOf, virtualSize } from '../qcow2-head.js'
import { removeImage } from '../remove-image.js'
import type { Place } from '../storage-domain.js'
import { sweep } from '../sweep.js'
import { diagnose } from './diagnose.js'
import type { Diagnosis, DoctorScope, Repaired, RepairKind, RepairWanted } from './diagnosis.js'

/**
 * Does what a plan showed, and nothing that it did not show: everything is looked at once more, and what is not wrong
 * any more is left alone. Alone among all hosts meanwhile.
 */
export async function repair(
  op: Operation,
  wanted: readonly RepairWanted[],
  scope: DoctorScope,
  signal: AbortSignal
): Promise<Repaired> {
  await using manager = await op.storageDomain.leases.asManager(signal)
  void manager
  const asked = new Set(wanted.map(({ kind, object }) => `${kind} ${object}`))
  const found = (await diagnose(op, scope, signal)).filter(({ kind, object }) =>
    asked.has(`${kind} ${object}`)
  )
  const repaired: Repaired = { done: [], failed: [], left: [] }
  for (const kind of order) {
    const these = found.filter(diagnosis => diagnosis.kind === kind)
    // One sweep, one rebuild for all that they put right.
    const once = kind === 'sweep' || kind === 'rebuildVmLeases' ? these.slice(0, 1) : these
    for (const diagnosis of once) await tell(op, diagnosis, these, repaired, signal)
  }
  repaired.left = await diagnose(op, scope, signal)
  return repaired
}

/** Records first, so that what follows sees the right chain. */
const order: RepairKind[] = [
  ...(['correctParent', 'makeLegal', 'correctCapacity', 'grow', 'removeUnfinished', 'sweep'] as const),
  ...(['removeOrphan', 'writeVolumeLease', 'rebuildVmLeases', 'removeVmLease'] as const)
]

async function tell(
  op: Operation,
  diagnosis: Diagnosis,
  all: readonly Diagnosis[],
  { done, failed }: Repaired,
  signal: AbortSignal
): Promise<void> {
  signal.throwIfAborted()
  const lines = (diagnosis.kind === 'sweep' ? all : [diagnosis]).map(({ text, plan }) => `${text}: ${plan}`)
  try {
    await perform(op, diagnosis, signal)
    done.push(...lines)
    op.log.info({ ...diagnosis }, 'storage domain repaired')
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    failed.push(...lines.map(line => `${line}: ${error.message}`))
  }
}

async function perform(
  op: Operation,
  { kind, imageId, object }: Diagnosis,
  signal: AbortSignal
): Promise<void> {
  const { volumes, leases } = op.storageDomain
  const place = { imageId, volumeId: object }
  switch (kind) {
    case 'sweep':
      return void (await sweep(op, signal))
    case 'removeUnfinished':
      return removeImage(op, { imageId, wipe: false }, signal)
    case 'makeLegal':
      return correct(op, place, async () => ({ legality: 'legal' }), signal)
    case 'correctParent':
      return correct(op, place, async () => ({ parentId: await backingOf(volumes, place) }), signal)
    case 'correctCapacity':
      return correct(op, place, async () => ({ capacity: bytes(await virtualSize(volumes, place)) }), signal)
    case 'grow': {
      const metadata = await volumes.read(place)
      return idempotent('storage-domain.repair/grow', () =>
        volumes.grow(place, metadata.capacity, metadata, signal)
      )
    }
    case 'writeVolumeLease':
      return idempotent('storage-domain.repair/lease', () => writeLease(op, place, signal))
    case 'removeVmLease':
      return leases.removeVmLease(object, signal)
    case 'rebuildVmLeases':
      return void (await leases.rebuildVmLeases(signal))
    case 'removeOrphan':
      return idempotent('storage-domain.repair/orphan', () => volumes.removeOrphan(object))
    case null:
      return
  }
}

/** One write of the whole record, out of what the data says at this moment. */
async function correct(
  op: Operation,
  place: Place,
  change: () => Promise<Partial<VolumeMetadata>>,
  signal: AbortSignal
): Promise<void> {
  const { volumes } = op.storageDomain
  await volumes.reach([place], signal)
  try {
    const metadata = { ...(await volumes.read(place)), ...(await change()) }
    await idempotent('storage-domain.repair/record', () =>
      volumes.write(place, metadata, 'storage-domain.repair/record')
    )
  } finally {
    await volumes.letGo(place.imageId)
  }
}

/** On files it may be missing altogether; it belongs to whom the data belongs. */
async function writeLease({ storageDomain }: Operation, place: Place, signal: AbortSignal): Promise<void> {
  const { volumes, leases } = storageDomain
  const { path } = await leases.volumeResource(place)
  if (!volumes.onBlock && !(await exists(path))) {
    const { uid, gid } = await lstat(volumes.path(place))
    await writeFile(path, '', { flag: 'wx', mode: 0o660 })
    await chmod(path, 0o660)
    await chown(path, uid, gid).catch(() => {}) // An export that squashes root has its own owner.
  }
  await leases.writeVolumeLease(place, signal)
}
