import { Fault } from '../../common/fault.js'
import { asFault } from '../faults.js'
import type { Operation } from '../operation.js'
import { type Diagnosis, type DoctorScope, unrepaired } from './diagnosis.js'
import { diagnoseImage } from './diagnose-image.js'
import { diagnoseVmLeases } from './diagnose-leases.js'

/** Everything that is wrong with a storage domain, each with what would be done about it. Changes nothing. */
export async function diagnose(op: Operation, scope: DoctorScope, signal: AbortSignal): Promise<Diagnosis[]> {
  const { volumes, onHost } = op.storageDomain
  const found: Diagnosis[] = []
  for (const { object, text, repair } of await onHost.audit()) {
    const plan = repair === 'removeOrphan' ? 'it is removed' : 'the sweep finishes it'
    // What is wrong with a volume's room is said of its image below.
    if (repair === 'grow') continue
    if (repair === undefined) found.push(unrepaired(object, '', text))
    else found.push({ kind: repair, object, imageId: '', text, plan })
  }
  for (const { imageId, wipe } of await volumes.removed()) {
    const text = `the removed image ${imageId} was not purged`
    found.push({
      kind: 'sweep',
      object: imageId,
      imageId,
      text,
      plan: wipe ? 'it is wiped, then purged' : 'it is purged'
    })
  }
  const owned = new Set(scope.intents)
  for (const imageId of await volumes.imageIds()) {
    signal.throwIfAborted()
    if (owned.has(imageId)) continue
    found.push(...(await withoutFaults(imageId, () => diagnoseImage(op, imageId, owned, signal))))
  }
  found.push(...(await diagnoseVmLeases(op.storageDomain, scope.vmIds, signal)))
  return found.filter(({ object }) => !owned.has(object))
}

/** One image that cannot be looked into keeps nobody from the others. */
async function withoutFaults(imageId: string, look: () => Promise<Diagnosis[]>): Promise<Diagnosis[]> {
  try {
    return await look()
  } catch (error) {
    const fault = asFault(error)
    if (!(fault instanceof Fault)) throw error
    return [unrepaired(imageId, imageId, `image ${imageId} cannot be looked into: ${fault.message}`)]
  }
}
