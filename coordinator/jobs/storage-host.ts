import { Fault } from '../../common/fault.js'
import type { Tx } from '../store/query.js'
import type { Step } from './job.js'
import { storageHost } from './placement.js'
import type { JobWorld } from './world.js'

export type OnAHost = { hostId: string | null }

/** Chooses the host that does the storage work of a job: up, with all the storage domains active. */
export function chooseStorageHost<C extends OnAHost>(
  domainsOf: (context: Readonly<C>) => string[]
): Step<C, Tx> {
  return {
    name: 'chooseHost',
    weight: 0,
    commit: (tx, context, jobId) => {
      const domains = domainsOf(context)
      if (context.hostId !== null || domains.length === 0) return {}
      return { hostId: storageHost(tx, domains, numberOf(jobId)) } as Partial<C>
    }
  }
}

/** Jobs are spread over hosts by their ids. */
export const numberOf = (jobId: string) => Number.parseInt(jobId.slice(0, 6), 16)

/** The host of a job whose choice is behind it. */
export function hostOf({ hostId }: Readonly<OnAHost>): string {
  if (hostId === null) throw new Fault('NO_HOST', 'no host was chosen')
  return hostId
}

/**
 * The host that takes back, or finishes, what `hostOf` began: the same one, unless it is proven to be stopped
 * or is gone. As long as it may be alive nobody else touches its half-done work.
 */
export function heirOf({ hosts, store }: JobWorld, context: Readonly<OnAHost>, domains: string[]): string {
  const hostId = hostOf(context)
  return hosts.isGone(hostId) ? storageHost(store.read, domains, 0) : hostId
}
