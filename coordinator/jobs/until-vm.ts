import { orAborted } from '../../common/deadline.js'
import type { Store } from '../store/store.js'
import { vmOrNull, type Vm } from '../store/vms.js'

/** Waits until what hosts have told of a VM is as wanted; null where there is no such VM any more. */
export async function untilVm(
  store: Store,
  vmId: string,
  isSo: (vm: Vm | null) => boolean,
  signal: AbortSignal
): Promise<Vm | null> {
  const now = () => vmOrNull(store.read, vmId)
  if (isSo(now())) return now()
  let stop = () => {}
  const seen = new Promise<Vm | null>(resolve => {
    stop = store.listen(changes => {
      if (!changes.some(({ kind, id }) => kind === 'vm' && id === vmId)) return
      const vm = now()
      if (isSo(vm)) resolve(vm)
    })
  })
  try {
    return await orAborted(seen, signal)
  } finally {
    stop()
  }
}
