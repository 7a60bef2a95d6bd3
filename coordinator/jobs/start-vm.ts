import type { Tx } from '../store/query.js'
import type { JobTable } from './job.js'
import { choose, confirm, nextLife, start, type StartContext } from './start-steps.js'
import type { JobWorld } from './world.js'

export type StartVm = StartContext

/** On the host that the scheduler chooses; if it fails there, on another, three in all. */
export function startVm(world: JobWorld): JobTable<StartVm, Tx> {
  return {
    kind: 'vm.start',
    atOnce: 64,
    steps: [choose(world, 'start'), nextLife(world), start(world), confirm(world)]
  }
}
