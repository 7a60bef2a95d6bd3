import { sleep } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { isKnownVm } from '../known-vms.js'
import { host, hostsOfCluster } from '../store/hosts.js'
import { unreserveJob } from '../store/pending.js'
import type { Reader, Tx } from '../store/query.js'
import { nextVmGeneration, noteVm, vm, type Vm } from '../store/vms.js'
import { anotherHost } from './another-host.js'
import { untilWoken } from './awaited-host.js'
import { endTasks, performTask, unlessAbsent } from './hosts.js'
import type { Step } from './job.js'
import { untilNeededRun } from './needed-vms.js'
import { newestMachineType } from './machine-type.js'
import { startedOn } from './observed-vm.js'
import { chooseHost, type Choice } from './placement.js'
import { readVmSpec } from './read-vm-spec.js'
import { untilVm } from './until.js'
import type { JobWorld } from './world.js'

// From a decision to a VM that is seen running: what a start and a restart have in common.

export type StartContext = {
  vmId: string
  onlyHostId: string | null
  /** Preferred if it can take the VM: where it ran before. */
  preferredHostId: string | null
  isPaused: boolean
  /** The choice; null when no host could take the VM. */
  hostId: string | null
  /** Why that host, or why none, in words. */
  summary: string
  /** Hosts that failed in this job, with the reason. */
  excluded: Record<string, string>
  /** Number of the start; 0 before it is given. */
  vmGeneration: number
  machineType: string
}

export const startContext = (vmId: string): StartContext => {
  return {
    ...{ vmId, onlyHostId: null, preferredHostId: null, isPaused: false },
    ...{ hostId: null, summary: '', excluded: {}, vmGeneration: 0, machineType: '' }
  }
}

/** Decision, explanation and promised room, in one transaction. */
export function choose<C extends StartContext>(world: JobWorld, purpose: Choice['purpose']): Step<C, Tx> {
  const { loads, clock, store } = world
  return {
    name: 'choose',
    weight: 0,
    late: () => 'the VMs that it needs did not run within 10 minutes',
    run: async act => {
      // Restarts have their order from restart-policy.ts, which gives up waiting when it must.
      if (purpose !== 'start') return
      const { vmId, onlyHostId, excluded } = act.context
      await untilNeededRun(store, vmId, act.signal)
      const choice = { purpose, vmId, onlyHostId, excluded, preferredHostId: null, currentHostId: null }
      await untilWoken(world, choice, act)
    },
    commit: (tx, { vmId, onlyHostId, preferredHostId, excluded }, jobId) => {
      const mayRelax = purpose === 'restart'
      const choice = {
        ...{ purpose, vmId, onlyHostId, preferredHostId, excluded, mayRelax, currentHostId: null }
      }
      const { hostId, summary } = chooseHost(tx, loads, choice, jobId, clock.wall())
      const machineType = hostId === null ? '' : machineTypeFor(tx, vmId, hostId)
      return { hostId, summary, machineType } as Partial<C>
    },
    uncommit: (tx, _, jobId) => unreserveJob(tx, jobId)
  }
}

/** The VM's own, or for its first start the newest that its whole cluster offers. */
function machineTypeFor(reader: Reader, vmId: string, hostId: string): string {
  const { machineType, clusterId } = vm(reader, vmId)
  if (machineType !== '') return machineType
  const others = hostsOfCluster(reader, clusterId).filter(({ status }) => status === 'up')
  return newestMachineType(
    host(reader, hostId).capabilities?.machineTypes ?? [],
    others.map(({ capabilities }) => capabilities?.machineTypes ?? [])
  )
}

/** The number of this start: whatever an older one still says is ignored from here on. */
export function nextLife<C extends StartContext>({ store, stale }: JobWorld): Step<C, Tx> {
  return {
    name: 'nextLife',
    weight: 0,
    run: async ({ context: { vmId, hostId, summary, excluded } }) => {
      if (hostId === null) throw new Fault('NO_HOST', summary)
      throwIfDoubtful(store.read, vmId, stale)
      throwIfElsewhere(vm(store.read, vmId), excluded)
    },
    commit: (tx, { vmId }) => ({ vmGeneration: nextVmGeneration(tx, vmId) }) as Partial<C>
  }
}

/** See ../stale-store.ts: an older store does not know whether it runs on a host that is silent. */
function throwIfDoubtful(reader: Reader, vmId: string, stale: JobWorld['stale']): void {
  if (isKnownVm(reader, vmId, stale)) return
  throw new Fault(
    'WRONG_STATE',
    `VM ${vm(reader, vmId).name} may run on a host that has not told yet what it has; until every host is heard, or ` +
      'confirmed to be off (`drover host confirm-stopped`), this store may be older than the world',
    { facts: { vm: vmId } }
  )
}

/** A job out of a backup may have had its effect long ago. What a failed try left goes by itself. */
function throwIfElsewhere({ id, name, hostId, status }: Vm, tried: Readonly<Record<string, string>>): void {
  if (status === 'down' || status === 'creating' || status === 'unknown') return
  if (hostId !== null && hostId in tried) return
  throw new Fault('WRONG_STATE', `VM ${name} runs already`, { facts: { vm: id, host: hostId ?? '' } })
}

export function start<C extends StartContext>({ hosts, store, stale, clock }: JobWorld): Step<C, Tx> {
  return {
    name: 'start',
    weight: 4,
    host: ({ hostId }) => hostId,
    run: async act => {
      const { vmId, hostId, vmGeneration, isPaused, machineType } = act.context
      if (hostId === null) throw new Fault('NO_HOST', act.context.summary)
      if (hosts.isGone(hostId)) throw new Fault('WRONG_STATE', 'the host was stopped meanwhile')
      while (!isKnownVm(store.read, vmId, stale)) await sleep(clock, seconds(1), act.signal)
      throwIfElsewhere(vm(store.read, vmId), { ...act.context.excluded, [hostId]: '' })
      const spec = readVmSpec(store.read, vmId, machineType)
      const request = { vmGeneration, spec, paused: isPaused }
      await performTask(hosts, act, hostId, agentServices.vm.StartVm, request)
    },
    undo: async act => {
      const { vmId, hostId, vmGeneration } = act.context
      if (hostId === null || hosts.isGone(hostId)) return
      await endTasks(hosts, act, hostId)
      const request = { vmId, vmGeneration }
      await unlessAbsent(performTask(hosts, act, hostId, agentServices.vm.DestroyVm, request))
    },
    otherwise: goElsewhere
  }
}

/** The host's own watch stream completes a start, and not its reply. */
export function confirm<C extends StartContext>({ store, hosts }: JobWorld): Step<C, Tx> {
  return {
    name: 'confirm',
    weight: 1,
    host: ({ hostId }) => hostId,
    pointOfNoReturn: true,
    run: async ({ context: { vmId, hostId, vmGeneration }, signal }) => {
      const seen = await untilVm(
        store,
        vmId,
        row => row === null || startedOn(row, hostId, vmGeneration) !== 'notYet',
        signal
      )
      if (seen && startedOn(seen, hostId, vmGeneration) === 'runs') return
      if (hostId !== null && hosts.isGone(hostId)) throw new Fault('WRONG_STATE', 'the host was stopped')
      const why = seen?.failure?.message || seen?.exitReason || 'its host does not know it any more'
      throw new Fault('WRONG_STATE', `the VM went down while it started: ${why}`)
    },
    commit: (tx, { vmId, machineType }, jobId) => {
      noteVm(tx, vmId, { wantedRunning: 1, machineType })
      unreserveJob(tx, jobId)
    },
    otherwise: goElsewhere
  }
}

function goElsewhere<C extends StartContext>(context: Readonly<C>, fault: Fault) {
  const excluded = anotherHost(context, fault)
  return excluded ? { backTo: 'choose', change: { excluded } as Partial<C> } : null
}
