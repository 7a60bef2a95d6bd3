import { sleep } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { host, updateHost } from '../store/hosts.js'
import { jobOrNull } from '../store/jobs.js'
import { pendingOn } from '../store/pending.js'
import { parsed, sql, type Reader, type Tx } from '../store/query.js'
import { storageDomain, storageDomains, viewsOfHost } from '../store/storage-domains.js'
import { vmsOfHost, vmOrNull, type Vm } from '../store/vms.js'
import { untilWoken } from './awaited-host.js'
import { placeTogether } from './place-together.js'
import { firstPace, nextLeaving, nextPace, stuckOf } from './evacuation.js'
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
  order(vmId: string, childId: string, actor: string, preferredHostId: string | null): void
  untilOver(childId: string, signal: AbortSignal): Promise<{ turnedBack: Fault | null }>
}

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

/**
 * Until no VM of ours runs there: as many at once as moves most (evacuation.ts). What cannot move is named; the
 * host then goes back into service.
 */
async function emptyHost(world: JobWorld, evacuate: Evacuate, act: Act<DeactivateHost>): Promise<void> {
  const { hostId } = act.context
  const { store, clock } = world
  const failures = new Map<string, { count: number; message: string }>()
  const moving = new Map<string, Promise<void>>()
  const tries = new Map<string, number>()
  let pace = firstPace(host(store.read, hostId).capabilities?.cpus ?? 1)
  // All of them together, until one of them has failed: then what is left is planned anew.
  let plan: Map<string, string> | null = null
  const planned = () =>
    (plan ??= placeTogether(
      store.read,
      world.loads,
      'migrate',
      vmsOfHost(store.read, hostId)
        .filter(vm => isRunning(vm) && !vm.isExternal)
        .map(({ id }) => id)
    ))
  const move = async (vm: Vm) => {
    const begun = clock.monotonic()
    const tried = tries.get(vm.id) ?? 0
    tries.set(vm.id, tried + 1)
    const failure = await moveAway(world, evacuate, act, vm, tried, planned())
    const took = Math.max(clock.monotonic() - begun, 0.001)
    pace = nextPace(pace, { rate: (vm.memoryBytes / took) * moving.size, failed: failure !== null })
    if (failure === null) failures.delete(vm.id)
    else failures.set(vm.id, { count: (failures.get(vm.id)?.count ?? 0) + 1, message: failure })
    if (failure !== null) plan = null
    if (failure !== null) await sleep(clock, seconds(2), act.signal)
  }
  for (;;) {
    const running = vmsOfHost(store.read, hostId).filter(vm => isRunning(vm) && !vm.isExternal)
    const leaving = running.map(({ id, memoryBytes, priority }) => ({
      ...{ vmId: id, memoryBytes, priority, isMoving: moving.has(id) },
      failures: failures.get(id)?.count ?? 0
    }))
    for (const id of nextLeaving(leaving, pace)) {
      const vm = running.find(row => row.id === id)
      if (vm)
        moving.set(
          id,
          move(vm).finally(() => moving.delete(id))
        )
    }
    // What was placed here before, and is not seen yet, comes and has to leave again.
    const isExpecting = pendingOn(store.read, hostId).length > 0
    const isEmpty = running.length === 0 && !isExpecting && !isBeingLeft(store.read, hostId)
    if (moving.size === 0) {
      const stuck = new Set(stuckOf(leaving))
      if (stuck.size > 0)
        throw immovable(
          running.filter(({ id }) => stuck.has(id)),
          failures
        )
      if (isEmpty) break
      await sleep(clock, seconds(1), act.signal)
    } else await Promise.race(moving.values())
  }
  const external = vmsOfHost(store.read, hostId).filter(isRunning)
  if (external.length > 0) throw immovable(external, failures)
}

/** Migrations that an earlier life of the coordinator ordered: they go on by themselves, and have something to tidy up. */
const isBeingLeft = (reader: Reader, hostId: string): boolean =>
  reader
    .all(
      sql.selectFrom('job').select('contextJson').where('kind', '=', 'vm.migrate').where('ended', 'is', null)
    )
    .some(({ contextJson }) => parsed<{ sourceHostId: string }>(contextJson).sourceHostId === hostId)

/** One try: null when the VM has left, else why not. After a restart of the coordinator the same try goes on. */
async function moveAway(
  world: JobWorld,
  evacuate: Evacuate,
  act: Act<DeactivateHost>,
  { id, generation }: Vm,
  tried: number,
  plan: ReadonlyMap<string, string>
): Promise<string | null> {
  const { store } = world
  const { jobId, signal } = act
  const { hostId } = act.context
  const childId = derivedId(jobId, `evacuate/${id}/${generation}/${tried}`)
  try {
    if (!jobOrNull(store.read, childId)) {
      const away = { purpose: 'migrate' as const, vmId: id, currentHostId: hostId, isRelaxed: true }
      await untilWoken(world, { ...away, onlyHostId: null, preferredHostId: null, excluded: {} }, act)
      evacuate.order(id, childId, 'system', plan.get(id) ?? null)
    }
    const { turnedBack } = await evacuate.untilOver(childId, signal)
    if (turnedBack) throw turnedBack
    return null
  } catch (error) {
    if (signal.aborted || !(error instanceof Fault)) throw error
    return vmOrNull(store.read, id)?.hostId === hostId ? error.message : null
  }
}

function immovable(vms: readonly Vm[], failures: ReadonlyMap<string, { message: string }>): Fault {
  const why = (id: string) => failures.get(id)?.message ?? 'not made by this installation'
  const all = vms.map(({ id, name }) => `${name}: ${why(id)}`)
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
