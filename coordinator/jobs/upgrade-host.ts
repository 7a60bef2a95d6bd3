import { Fault } from '../../common/fault.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { host, hostOrNull } from '../store/hosts.js'
import { jobOrNull } from '../store/jobs.js'
import type { Tx } from '../store/query.js'
import { throughChild, type ChildJobs } from './child-jobs.js'
import { endTasks, performTask } from './hosts.js'
import type { Act, JobTable, Step } from './job.js'
import { untilSo } from './until.js'
import { isUpgradeNeeded, problemAfter, rebootOf, type RebootWish } from './upgrade-plan.js'
import type { JobWorld } from './world.js'

export type UpgradeSettings = {
  /** Debian packages; none means all that can be upgraded. */
  packages: string[]
  /** The host reads its lists of packages again before. */
  isRefreshed: boolean
  reboot: RebootWish
}
export type WantedUpgrade = UpgradeSettings & { hostId: string }
export type UpgradeHost = WantedUpgrade & {
  /** In service before, and to be again afterwards. */
  wasActive: boolean
  /** The boot before the upgrade. */
  bootId: string
  /** A line each: name, version before, version after. */
  plan: string
  isNeeded: boolean
  /** Packages may have changed: a host that failed from here on stays in maintenance. */
  isTouched: boolean
  /** Why it is rebooted; empty: it is not. */
  rebootReason: string
  /** Leases were safe there before. */
  hadHaLeases: boolean
}

export const upgradeContext = (wanted: WantedUpgrade, wasActive: boolean): UpgradeHost => ({
  ...{ ...wanted, wasActive, bootId: '', plan: '', isNeeded: false, isTouched: false },
  ...{ rebootReason: '', hadHaLeases: false }
})

const { UpgradePackages, RebootHost, GetHost } = agentServices.host
const installLimit = seconds(2 * 3600)
const lookLimit = seconds(900)
const rebootLimit = seconds(1800)

type HostStep = Step<UpgradeHost, Tx>
const onHost = { host: ({ hostId }: UpgradeHost) => hostId }

/** Look → leave → install → reboot → check → enter. A host with nothing to upgrade is left alone. */
export function upgradeHost(world: JobWorld, children: ChildJobs): JobTable<UpgradeHost, Tx> {
  return {
    kind: 'host.upgrade',
    result: ({ plan, rebootReason, isNeeded }) => ({
      packages: plan,
      reboot: rebootReason,
      ...(!isNeeded && { note: 'nothing to upgrade' })
    }),
    steps: [
      look(world),
      leave(world, children),
      touch,
      install(world),
      reboot(world),
      comeBack(world),
      check(world),
      enter(world, children)
    ]
  }
}

function look({ store, hosts }: JobWorld): HostStep {
  return {
    ...{ name: 'look', weight: 1, limit: lookLimit, ...onHost },
    run: async act => {
      const { hostId, packages, isRefreshed, reboot: wish } = act.context
      const request = { packages, refresh: isRefreshed, dryRun: true }
      const found = await performTask(hosts, act, hostId, UpgradePackages, request)
      const { bootId, capabilities } = host(store.read, hostId)
      const plan = found['packages'] ?? ''
      const rebootReason = rebootOf(wish, found['reboot'] ?? '')
      const isNeeded = isUpgradeNeeded(plan, rebootReason)
      return { plan, rebootReason, isNeeded, bootId, hadHaLeases: capabilities?.haLeases ?? false }
    }
  }
}

/** Into maintenance, as a person would do it. Taken back only while nothing on the host was changed. */
function leave(world: JobWorld, children: ChildJobs): HostStep {
  return {
    ...{ name: 'leave', weight: 10, limit: null, ...onHost },
    run: async act => {
      const { isNeeded, wasActive, hostId } = act.context
      if (!isNeeded || !wasActive || host(world.store.read, hostId).mode === 'maintenance') return
      const childId = act.requestId('deactivate')
      await throughChild(world, children, act, childId, tx => children.deactivate(tx, hostId, childId))
    },
    undo: async act => {
      const { isTouched, wasActive, hostId } = act.context
      if (isTouched || !wasActive) return
      await endChildren(children, act, world)
      if (hostOrNull(world.store.read, hostId)?.mode !== 'maintenance') return
      const childId = act.requestId('activate')
      await throughChild(world, children, act, childId, tx => children.activate(tx, hostId, childId))
    }
  }
}

/** A way into maintenance that is under way is not cut off: it ends first. */
async function endChildren(children: ChildJobs, act: Act<UpgradeHost>, { store }: JobWorld): Promise<void> {
  for (const childId of act.forwardIds('deactivate')) {
    if (jobOrNull(store.read, childId)) await children.untilOver(childId, act.signal)
  }
}

/** Before the first package changes, so that no crash can forget that it may have. */
const touch: HostStep = {
  name: 'touch',
  weight: 0,
  commit: (_, { isNeeded }) => ({ isTouched: isNeeded })
}

function install({ hosts }: JobWorld): HostStep {
  return {
    ...{ name: 'install', weight: 20, limit: installLimit, ...onHost },
    run: async act => {
      const { hostId, packages, isNeeded, plan, rebootReason, reboot: wish } = act.context
      if (!isNeeded || plan === '') return
      const request = { packages, refresh: false, dryRun: false }
      const done = await performTask(hosts, act, hostId, UpgradePackages, request)
      return {
        plan: done['packages'] || plan,
        rebootReason: rebootOf(wish, done['reboot'] ?? '') || rebootReason
      }
    },
    undo: async act => endTasks(hosts, act, act.context.hostId)
  }
}

function reboot({ hosts }: JobWorld): HostStep {
  return {
    ...{ name: 'reboot', weight: 1, ...onHost },
    run: async act => {
      const { hostId, rebootReason, isNeeded, bootId } = act.context
      if (!isNeeded || rebootReason === '') return
      await hosts.call(hostId, RebootHost, { requestId: act.requestId(), bootId }, act.signal)
    }
  }
}

function comeBack({ store, hosts }: JobWorld): HostStep {
  return {
    ...{ name: 'comeBack', weight: 5, limit: rebootLimit, ...onHost },
    late: () => 'the host did not come back within 30 minutes',
    run: async ({ context: { hostId, rebootReason, isNeeded, bootId }, signal }) => {
      if (!isNeeded || rebootReason === '') return
      await untilSo(
        store,
        { kind: 'host', id: hostId },
        () => host(store.read, hostId).bootId !== bootId,
        signal
      )
      await hosts.call(hostId, GetHost, { refresh: false }, signal)
    }
  }
}

/** By what the host itself says now: libvirt answers, leases are as safe as before, no package is left over. */
function check({ hosts }: JobWorld): HostStep {
  return {
    ...{ name: 'check', weight: 2, ...onHost },
    run: async act => {
      const { hostId, isNeeded, packages, hadHaLeases } = act.context
      if (!isNeeded) return
      const left = await performTask(hosts, act, hostId, UpgradePackages, {
        packages,
        refresh: false,
        dryRun: true
      })
      const { capabilities } = await hosts.call(hostId, GetHost, { refresh: true }, act.signal)
      const problem = problemAfter({
        left: left['packages'] ?? '',
        hasLibvirt: capabilities === null || capabilities.libvirtVersion !== '',
        hadHaLeases,
        hasHaLeases: capabilities?.haLeases ?? hadHaLeases
      })
      if (problem !== '') throw new Fault('WRONG_STATE', problem, { facts: { host: hostId } })
    }
  }
}

function enter(world: JobWorld, children: ChildJobs): HostStep {
  return {
    ...{ name: 'enter', weight: 5, limit: null, ...onHost },
    run: async act => {
      const { isNeeded, wasActive, hostId } = act.context
      if (!isNeeded || !wasActive) return
      const childId = act.requestId('activate')
      await throughChild(world, children, act, childId, tx => children.activate(tx, hostId, childId))
    }
  }
}
