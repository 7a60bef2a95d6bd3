import { orAborted } from '../../common/deadline.js'
import type { Change, Store } from '../store/store.js'
import { vmOrNull, type Vm } from '../store/vms.js'

/** Waits until what hosts have told of a VM is as wanted; null where there is no such VM any more. */
export async function untilVm(
  store: Store,
  vmId: string,
  isSo: (vm: Vm | null) => boolean,
  signal: AbortSignal
): Promise<Vm | null> {
  await untilSo(store, { kind: 'vm', id: vmId }, () => isSo(vmOrNull(store.read, vmId)), signal)
  return vmOrNull(store.read, vmId)
}

/** Waits until something is so, looking again whenever that object has changed. */
export async function untilSo(
  store: Store,
  { kind, id }: Change,
  isSo: () => boolean,
  signal: AbortSignal
): Promise<void> {
  if (isSo()) return
  let stop = () => {}
  const seen = new Promise<void>(resolve => {
    stop = store.listen(changes => {
      if (changes.some(change => change.kind === kind && change.id === id) && isSo()) resolve()
    })
  })
  try {
    await orAborted(seen, signal)
  } finally {
    stop()
  }
}
