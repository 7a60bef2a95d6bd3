import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import { seconds } from '../../common/units.js'
import { hostOrNull, hostsOfCluster, type Host } from '../store/hosts.js'
import { jobOrNull, jobSteps } from '../store/jobs.js'
import type { Reader, Tx } from '../store/query.js'
import type { ChildJobs } from './child-jobs.js'
import type { Act, JobTable } from './job.js'
import type { UpgradeSettings } from './upgrade-host.js'
import {
  missedHosts,
  nextUpgrades,
  type HostStanding,
  type HostUpgrade,
  type UpgradeStage
} from './upgrade-plan.js'
import type { JobWorld } from './world.js'

export type UpgradeCluster = UpgradeSettings & {
  clusterId: string
  /** In this order. */
  hostIds: string[]
  /** Hosts out of service at the same time. */
  atOnce: number
  actor: string
  upgraded: number
}

/** How long hosts that are missed may keep an upgrade waiting. */
const patience = seconds(1800)
const lookEvery = seconds(5)

/** Host by host; where it is, its jobs say: nothing is remembered here that a crash could lose. */
export function upgradeCluster(world: JobWorld, children: ChildJobs): JobTable<UpgradeCluster, Tx> {
  return {
    kind: 'cluster.upgrade',
    atOnce: 4,
    result: ({ upgraded }) => ({ hosts: String(upgraded) }),
    steps: [
      {
        name: 'hosts',
        limit: null,
        run: async act => ({ upgraded: await upgradeAll(world, children, act) })
      }
    ]
  }
}

async function upgradeAll(world: JobWorld, children: ChildJobs, act: Act<UpgradeCluster>): Promise<number> {
  const { store, clock } = world
  const { clusterId, hostIds, atOnce, actor, packages, isRefreshed, reboot } = act.context
  const childOf = (hostId: string) => derivedId(act.jobId, `upgrade/${hostId}`)
  let idleSince = clock.monotonic()
  for (;;) {
    const upgrades = hostIds.map(hostId => stageOf(store.read, hostId, childOf(hostId)))
    const standings = hostsOfCluster(store.read, clusterId).map(standingOf)
    const { begin, isOver, stopped } = nextUpgrades({ hosts: upgrades, atOnce }, missedHosts(standings))
    tell(store.read, act, upgrades)
    const failed = upgrades.find(({ stage }) => stage === 'failed')
    if (isOver) {
      if (failed) throw failureOf(store.read, failed, upgrades)
      return upgrades.length
    }
    for (const hostId of begin) {
      const wanted = { hostId, packages, isRefreshed, reboot }
      unlessBusy(() => store.transaction(tx => children.upgrade(tx, wanted, childOf(hostId), actor)))
    }
    const isIdle = !upgrades.some(({ stage }) => stage === 'draining') && begin.length === 0
    if (!isIdle) idleSince = clock.monotonic()
    if (clock.monotonic() - idleSince > patience)
      throw new Fault('WRONG_STATE', `the upgrade waited for 30 minutes: ${stopped}`)
    await untilNews(
      world,
      upgrades.map(({ hostId }) => childOf(hostId)),
      act.signal
    )
  }
}

/** A host that another job holds for a moment is begun with the next look. */
function unlessBusy(order: () => void): void {
  try {
    order()
  } catch (error) {
    if (!Fault.is(error, 'BUSY')) throw error
  }
}

/** What its job says; the plan only needs to know whether it waits, works or has ended. */
function stageOf(reader: Reader, hostId: string, childId: string): HostUpgrade {
  const child = jobOrNull(reader, childId)
  const named = (stage: UpgradeStage, why = '') => ({ hostId, stage, why })
  if (!child) return named(hostOrNull(reader, hostId) ? 'waiting' : 'done')
  if (child.ended === null) return named('draining')
  return child.turnedBack ? named('failed', child.turnedBack.message) : named('done')
}

export const standingOf = ({ id, mode, status }: Host): HostStanding => ({
  ...{ hostId: id, mode },
  isUp: status === 'up' || status === 'maintenance'
})

function failureOf(reader: Reader, { hostId, why }: HostUpgrade, upgrades: readonly HostUpgrade[]): Fault {
  const name = hostOrNull(reader, hostId)?.name ?? hostId
  const done = upgrades.filter(({ stage }) => stage === 'done').length
  const text = `host ${name} failed: ${why}; ${done} of ${upgrades.length} hosts are upgraded, the others were not begun`
  return new Fault('WRONG_STATE', text, { facts: { host: hostId } })
}

function tell(reader: Reader, act: Act<UpgradeCluster>, upgrades: readonly HostUpgrade[]): void {
  const done = upgrades.filter(({ stage }) => stage === 'done').length
  const working = upgrades
    .filter(({ stage }) => stage === 'draining')
    .map(({ hostId }) => {
      const steps = jobSteps(reader, derivedId(act.jobId, `upgrade/${hostId}`))
      const step = steps.find(({ state }) => state === 'running')?.name ?? 'waits'
      return `${hostOrNull(reader, hostId)?.name ?? hostId}: ${step}`
    })
  act.progress({
    percent: Math.floor((100 * done) / Math.max(1, upgrades.length)),
    phase: working.join(', ')
  })
}

/** Until one of these jobs has changed, or a moment has gone by. */
async function untilNews(
  { store, clock }: JobWorld,
  jobIds: readonly string[],
  signal: AbortSignal
): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const end = () => {
      unlisten()
      cancel()
      signal.removeEventListener('abort', stop)
    }
    const go = () => {
      end()
      resolve()
    }
    const stop = () => {
      end()
      reject(signal.reason as Error)
    }
    const unlisten = store.listen(changes => {
      if (changes.some(({ kind, id }) => kind === 'job' && jobIds.includes(id))) go()
    })
    const cancel = clock.after(lookEvery, go)
    signal.addEventListener('abort', stop, { once: true })
  })
}
