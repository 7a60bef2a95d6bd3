import { type Fault } from '../../common/fault.js'
import { jobOrNull } from '../store/jobs.js'
import type { Tx } from '../store/query.js'
import type { Act } from './job.js'
import type { WantedUpgrade } from './upgrade-host.js'
import type { JobWorld } from './world.js'

/** Orders jobs as parts of another one. Ids are given, so that a coordinator that starts anew finds them. */
export type ChildJobs = {
  deactivate(tx: Tx, hostId: string, childId: string): void
  activate(tx: Tx, hostId: string, childId: string): void
  upgrade(tx: Tx, wanted: WantedUpgrade, childId: string, actor: string): void
  untilOver(childId: string, signal: AbortSignal): Promise<{ turnedBack: Fault | null }>
}

/** Orders it unless that was done before, waits for its end, and fails as it failed. */
export async function throughChild(
  { store }: Pick<JobWorld, 'store'>,
  children: Pick<ChildJobs, 'untilOver'>,
  { signal }: Pick<Act<unknown>, 'signal'>,
  childId: string,
  order: (tx: Tx) => void
): Promise<void> {
  if (!jobOrNull(store.read, childId)) store.transaction(order)
  const { turnedBack } = await children.untilOver(childId, signal)
  if (turnedBack) throw turnedBack
}
