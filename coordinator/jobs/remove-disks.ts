import type { Tx } from '../store/query.js'
import type { Step } from './job.js'
import { heirOf, type OnAHost } from './storage-host.js'
import { removeImages, type ImageOnDomain } from './volumes.js'
import type { JobWorld } from './world.js'

type WithDisks = OnAHost & { disks: ImageOnDomain[] }

/** The step that removes the disks of what is deleted, by another host where the chosen one was stopped. */
export const removeDisks = <C extends WithDisks>(
  world: JobWorld,
  domainsOf: (context: Readonly<C>) => string[]
): Step<C, Tx> => ({
  name: 'removeDisks',
  weight: 4,
  limit: null,
  host: ({ hostId }) => hostId,
  run: async act => {
    const { disks } = act.context
    if (disks.length === 0) return
    await removeImages(world.hosts, act, heirOf(world, act.context, domainsOf(act.context)), disks, false)
  }
})
