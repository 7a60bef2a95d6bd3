import { sleep } from '../../common/clock.js'
import { Fault, type Reason } from '../../common/fault.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { unreserveJob } from '../store/pending.js'
import type { Tx } from '../store/query.js'
import type { Vm } from '../store/vms.js'
import { endTasks, performTask, unlessAbsent, type Asking } from './hosts.js'
import type { Act, JobTable } from './job.js'
import { ownerOf, sightingOf, type Owner, type Sighting } from './migration-owner.js'
import { chooseHost } from './placement.js'
import { readVmSpec } from './read-vm-spec.js'
import { untilVm } from './until.js'
import { faultFrom, verdictOn } from './verdict.js'
import type { JobWorld } from './world.js'

export type MigrateVm = {
  vmId: string
  vmGeneration: number
  sourceHostId: string
  onlyHostId: string | null
  /** Where a plan for many VMs wants it. Absent in jobs of earlier versions. */
  preferredHostId?: string | null
  /** Its host is being emptied: rules between VMs may be broken for a while. */
  mayRelax?: boolean
  bandwidth: number
  destinationHostId: string | null
  summary: string
  migrationAddress: string
  /** Who had the VM when the migration was over, whatever its call said. */
  owner: Owner
  /** What the call said when it failed. */
  failure: { reason: Reason; message: string } | null
}

const { vm } = agentServices

/** Moves a running VM. Who owns it afterwards is decided by what both hosts say, never by the call's outcome. */
export function migrateVm(world: JobWorld): JobTable<MigrateVm, Tx> {
  const { hosts, store, loads, clock } = world
  return {
    kind: 'vm.migrate',
    atOnce: 64,
    steps: [
      {
        name: 'choose',
        weight: 0,
        commit: (tx, context, jobId) => {
          const { vmId, onlyHostId, sourceHostId, preferredHostId = null, mayRelax = false } = context
          const choice = {
            ...{ purpose: 'migrate' as const, vmId, onlyHostId, currentHostId: sourceHostId },
            ...{ preferredHostId, mayRelax, excluded: {} }
          }
          const { hostId, summary } = chooseHost(tx, loads, choice, jobId, clock.wall())
          return { destinationHostId: hostId, summary }
        },
        uncommit: (tx, _, jobId) => unreserveJob(tx, jobId)
      },
      {
        name: 'prepareDestination',
        waitsForRoom: true,
        host: ({ destinationHostId }) => destinationHostId,
        run: async act => {
          const { vmId, vmGeneration, sourceHostId, summary, destinationHostId } = act.context
          if (destinationHostId === null) throw new Fault('NO_HOST', summary)
          const spec = readVmSpec(store.read, vmId, '')
          const request = { requestId: act.requestId(), vmGeneration, spec, sourceHostId }
          const { migrationAddress } = await hosts.call(
            destinationHostId,
            vm.PrepareIncoming,
            request,
            act.signal
          )
          return { migrationAddress }
        },
        undo: async act => {
          const { vmId, vmGeneration, destinationHostId } = act.context
          if (destinationHostId === null || hosts.isGone(destinationHostId)) return
          const request = { requestId: act.requestId(), vmId, vmGeneration }
          await unlessAbsent(hosts.call(destinationHostId, vm.CancelIncoming, request, act.signal))
        }
      },
      {
        // Never fails by itself: after an error, a cancel or a crash it finds out who has the VM.
        name: 'migrate',
        weight: 20,
        limit: null,
        evenIfCancelled: true,
        pointOfNoReturn: ({ owner }) => owner === 'destination',
        host: ({ sourceHostId }) => sourceHostId,
        run: async act => {
          const failure = await tryToMigrate(world, act)
          return { failure, owner: await settledOwner(world, act) }
        }
      },
      {
        name: 'settle',
        weight: 0,
        evenIfCancelled: true,
        pointOfNoReturn: true,
        limit: null,
        run: async ({ context, stop }) => {
          const { vmId, vmGeneration, destinationHostId, owner, failure } = context
          if (owner === 'nobody') {
            throw new Fault('WRONG_STATE', `the VM was lost while it migrated: ${failure?.message ?? ''}`)
          }
          if (owner !== 'destination') {
            const { reason, message } = failure ?? {
              reason: 'WRONG_STATE',
              message: 'the VM stayed where it was'
            }
            throw new Fault(reason, message)
          }
          await untilVm(store, vmId, seen => hasSettled(seen, destinationHostId, vmGeneration), stop)
        },
        commit: (tx, _, jobId) => unreserveJob(tx, jobId)
      },
      {
        // The source forgets the VM once it says itself that it is over there.
        name: 'tidy',
        host: ({ sourceHostId }) => sourceHostId,
        limit: null,
        run: async act => {
          const { vmId, vmGeneration, sourceHostId } = act.context
          if (hosts.isGone(sourceHostId)) return
          const { kind } = await sightingOn(world, sourceHostId, act.context, act.signal)
          if (kind === 'absent') return
          if (kind !== 'down') throw new Fault('INTERRUPTED', `the source still reports the VM: ${kind}`)
          await unlessAbsent(performTask(hosts, act, sourceHostId, vm.DestroyVm, { vmId, vmGeneration }))
        }
      }
    ]
  }
}

/** What the store must show before the job may let go of the VM. */
const hasSettled = (seen: Vm | null, destinationHostId: string | null, vmGeneration: number) =>
  seen === null ||
  seen.generation > vmGeneration ||
  seen.status === 'down' ||
  (seen.hostId === destinationHostId && seen.status !== 'migrating_to')

/** Null when the call said that it worked. */
async function tryToMigrate(world: JobWorld, act: Act<MigrateVm>): Promise<MigrateVm['failure']> {
  const { vmId, vmGeneration, sourceHostId, destinationHostId, migrationAddress, bandwidth } = act.context
  try {
    act.signal.throwIfAborted()
    if (destinationHostId === null) throw new Fault('NO_HOST', act.context.summary)
    const request = { vmId, vmGeneration, destinationHostId, migrationAddress, bandwidth, downtimeMs: 0 }
    await performTask(world.hosts, act, sourceHostId, vm.MigrateVm, request)
    return null
  } catch (error) {
    if (act.stop.aborted) throw error
    // While nobody has decided anything, the same request is asked again, unless it should end.
    if (verdictOn(error) === 'again' && !act.signal.aborted && !world.hosts.isGone(sourceHostId)) throw error
    await untilEnded(world, act)
    const { reason, message } = faultFrom(act.signal.aborted ? act.signal.reason : error)
    return { reason, message }
  }
}

/** Nothing can be found out while the source may still be at it. */
async function untilEnded({ hosts, clock }: JobWorld, act: Act<MigrateVm>): Promise<void> {
  for (;;) {
    try {
      return await endTasks(hosts, { ...act, signal: act.stop }, act.context.sourceHostId)
    } catch (error) {
      if (act.stop.aborted || verdictOn(error) !== 'again') throw error
    }
    await sleep(clock, seconds(1), act.stop)
  }
}

/** Asks both hosts until the answer is clear. Cancel has no say here: whatever is, has to be found out. */
async function settledOwner(world: JobWorld, { context, stop, log }: Act<MigrateVm>): Promise<Owner> {
  const { sourceHostId, destinationHostId } = context
  for (;;) {
    const [source, destination] = await Promise.all([
      sightingOn(world, sourceHostId, context, stop),
      destinationHostId === null
        ? ({ kind: 'absent' } as const)
        : sightingOn(world, destinationHostId, context, stop)
    ])
    const owner = ownerOf(source, destination)
    if (owner !== 'unclear') return owner
    log.info({ source, destination }, 'it is not clear yet who has the VM')
    await sleep(world.clock, seconds(0.5), stop)
  }
}

async function sightingOn(
  { hosts }: Pick<JobWorld, 'hosts'>,
  hostId: string,
  { vmId, vmGeneration }: Pick<MigrateVm, 'vmId' | 'vmGeneration'>,
  signal: Asking['signal']
): Promise<Sighting> {
  if (hosts.isGone(hostId)) return { kind: 'absent' }
  try {
    const seen = await unlessAbsent(hosts.call(hostId, vm.GetVm, { vmId }, signal))
    if (!seen || Number(seen.vmGeneration) !== vmGeneration) return { kind: 'absent' }
    const status = seen.status.toLowerCase().replace(/^vm_status_/, '')
    return sightingOf(status, seen.exitReason)
  } catch (error) {
    if (signal.aborted || !(error instanceof Fault)) throw error
    return { kind: 'silent' }
  }
}
