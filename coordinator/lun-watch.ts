import { Fault } from '../common/fault.js'
import { seconds } from '../common/units.js'
import { agentServices } from '../proto/load.js'
import { within } from '../common/deadline.js'
import type { Hosts } from './jobs/hosts.js'
import { hosts as hostRows } from './store/hosts.js'
import { lunsSeenBy, noteSeenLuns, wantedLuns } from './store/luns.js'
import type { Store } from './store/store.js'

export type LunWatchOptions = { store: Store; hosts: Pick<Hosts, 'call'> }

/**
 * Which hosts see the LUNs that VMs want: each is asked for those alone, so that a SAN of a thousand LUNs costs
 * nobody anything. A host that does not answer keeps what it said last: the start on it looks again.
 */
export async function watchLuns(
  { store, hosts }: LunWatchOptions,
  signal: AbortSignal,
  onlyClusterId: string | null = null
): Promise<void> {
  const wanted = wantedLuns(store.read)
  const asked = hostRows(store.read).filter(({ clusterId }) => {
    return onlyClusterId === null || clusterId === onlyClusterId
  })
  await Promise.all(
    asked.map(async ({ id, clusterId, status }) => {
      const before = lunsSeenBy(store.read, id)
      const wwids = wanted.get(clusterId) ?? []
      if (wwids.length === 0 && before.length === 0) return
      const seen = wwids.length === 0 || status !== 'up' ? [] : await seenOn(hosts, id, wwids, signal)
      if (seen === null || seen.join() === before.join()) return
      store.transaction(tx => noteSeenLuns(tx, id, seen))
    })
  )
}

async function seenOn(
  hosts: Pick<Hosts, 'call'>,
  hostId: string,
  wwids: string[],
  signal: AbortSignal
): Promise<string[] | null> {
  try {
    const limit = within(seconds(10), signal)
    const answer = await hosts.call(hostId, agentServices.san.SeeLuns, { wwids }, limit)
    return answer.wwids.filter(wwid => wwids.includes(wwid)).toSorted()
  } catch (error) {
    signal.throwIfAborted()
    // An agent of an earlier version sees none.
    if (Fault.is(error, 'UNSUPPORTED') || Fault.is(error, 'AGENT_TOO_OLD')) return []
    if (error instanceof Fault) return null
    throw error
  }
}
