import { sleep } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { host, updateHost } from '../store/hosts.js'
import { jobOrNull } from '../store/jobs.js'
import { pendingOn } from '../store/pending.js'
import type { Tx } from '../store/query.js'
import { storageDomain, storageDomains, viewsOfHost } from '../store/storage-domains.js'
import { vmsOfHost, vmOrNull, type Vm } from '../store/vms.js'
import { eachOf } from './hosts.js'
import type { Act, JobTable } from './job.js'
import { isRunning } from './observed-vm.js'
import { joinOn, leaveOn, patiently } from './storage-domain-steps.js'
import type { JobWorld } from './world.js'

export type DeactivateHost = { hostId: string; storageDomainIds: string[] }
export type ActivateHost = { hostId: string }
export type JoinStorage = { hostId: string; storageDomainIds: string[] }

/** Orders a migration of a VM away from its host, as part of another job, and waits until that is over. */
export type Evacuate = {
  order(vmId: string, childId: string, actor: string): void
  untilOver(childId: string, signal: AbortSignal): Promise<{ turnedBack: Fault | null }>
}

/** How many VMs leave a host at the same time. */
const leavingAtOnce = 2
const mostRounds = 3

/** All VMs move away, then the host leaves the lockspaces: its leases are given back, not left to expire. */
export function deactivateHost(world: JobWorld, evacuate: Evacuate): JobTable<DeactivateHost, Tx> {
  return {
    kind: 'host.deactivate',
    steps: [
      {
        name: 'prepare',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { hostId }) => updateHost(tx, hostId, { mode: 'active' })
      },
      {
        name: 'evacuate',
        weight: 20,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => emptyHost(world, evacuate, act)
      },
      {
        name: 'chooseStorage',
        weight: 0,
        commit: (tx, { hostId }) => {
          const views = viewsOfHost(tx, hostId)
          return { storageDomainIds: views.map(({ storageDomainId }) => storageDomainId) }
        }
      },
      {
        name: 'leaveStorage',
        weight: 4,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { hostId, storageDomainIds } = act.context
          await eachOf(storageDomainIds, 8, async id => leaveOn(world, act, hostId, id))
        },
        undo: async act => {
          const { hostId, storageDomainIds } = act.context
          if (world.hosts.isGone(hostId)) return
          await eachOf(storageDomainIds, 8, async id => {
            await joinOn(world, act, hostId, id, storageDomain(world.store.read, id).connection)
          })
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { hostId }) => updateHost(tx, hostId, { mode: 'maintenance' })
      }
    ]
  }
}

/** Until no VM of ours runs there. What cannot move is named; the host then goes back into service. */
async function emptyHost(world: JobWorld, evacuate: Evacuate, act: Act<DeactivateHost>): Promise<void> {
  const { hostId } = act.context
  const { store } = world
  const failures = new Map<string, string>()
  for (let round = 0; ; round++) {
    const running = vmsOfHost(store.read, hostId).filter(vm => isRunning(vm) && !vm.isExternal)
    // What was placed here before, and is not seen yet, comes and has to leave again.
    const coming = pendingOn(store.read, hostId)
    if (running.length === 0 && coming.length === 0) break
    if (running.length === 0) await sleep(world.clock, seconds(1), act.signal)
    const stuck = running.filter(({ id }) => failures.has(id) && round >= mostRounds)
    if (stuck.length > 0) throw immovable(stuck, failures)
    await eachOf(running, leavingAtOnce, async vm => {
      const childId = derivedId(act.jobId, `evacuate/${vm.id}/${vm.generation}/${round}`)
      try {
        if (!jobOrNull(store.read, childId)) evacuate.order(vm.id, childId, 'system')
        const { turnedBack } = await evacuate.untilOver(childId, act.signal)
        if (turnedBack) throw turnedBack
        failures.delete(vm.id)
      } catch (error) {
        if (act.signal.aborted || !(error instanceof Fault)) throw error
        if (vmOrNull(store.read, vm.id)?.hostId === hostId) failures.set(vm.id, error.message)
      }
    })
    if (failures.size > 0) await sleep(world.clock, seconds(2), act.signal)
  }
  const external = vmsOfHost(store.read, hostId).filter(isRunning)
  if (external.length > 0) throw immovable(external, failures)
}

function immovable(vms: readonly Vm[], failures: ReadonlyMap<string, string>): Fault {
  const all = vms.map(({ id, name }) => `${name}: ${failures.get(id) ?? 'not made by this installation'}`)
  return new Fault('WRONG_STATE', `VMs cannot leave the host: ${all.join('; ')}`)
}

/** Back into service: the host must answer; its storage comes with it. */
export function activateHost(world: JobWorld): JobTable<ActivateHost, Tx> {
  const { hosts } = world
  return {
    kind: 'host.activate',
    steps: [
      {
        name: 'reach',
        limit: seconds(60),
        late: () => 'the host did not answer within 60 s; check its network and its agent',
        host: ({ hostId }) => hostId,
        run: async act => {
          await hosts.call(act.context.hostId, agentServices.host.GetHost, { refresh: true }, act.signal)
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { hostId }) => updateHost(tx, hostId, { mode: 'active' })
      },
      {
        name: 'joinStorage',
        weight: 4,
        host: ({ hostId }) => hostId,
        run: async act => joinAll(world, act, act.context.hostId, null)
      }
    ]
  }
}

/** A host that came into service later, or lost some of it: the storage that all hosts have. */
export function joinStorage(world: JobWorld): JobTable<JoinStorage, Tx> {
  return {
    kind: 'host.join_storage',
    steps: [
      {
        name: 'join',
        host: ({ hostId }) => hostId,
        run: async act => joinAll(world, act, act.context.hostId, act.context.storageDomainIds)
      }
    ]
  }
}

/** One that fails does not keep the others away: the loop in host-storage.ts tries it again. */
async function joinAll(
  world: JobWorld,
  act: Act<unknown>,
  hostId: string,
  only: readonly string[] | null
): Promise<void> {
  const active = storageDomains(world.store.read).filter(
    ({ id, phase }) => phase === 'active' && (only === null || only.includes(id))
  )
  await eachOf(active, 8, async ({ id, connection, name }) => {
    try {
      await patiently(world.clock, act.signal, () => joinOn(world, act, hostId, id, connection))
    } catch (error) {
      if (act.signal.aborted || !(error instanceof Fault)) throw error
      const what = { err: error, host: host(world.store.read, hostId).name, storageDomain: name }
      act.log.warn(what, 'the host could not activate a storage domain')
    }
  })
}
