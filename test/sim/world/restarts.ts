import { seconds } from '../../../common/units.js'
import type { FailedVm } from '../../../coordinator/ha/restart-policy.js'
import type { SimCoordinator } from './coordinator.js'
import { hostRow, vmRow, type VmRow } from './records.js'
import { hasLease } from './world.js'

const startsAtOnce = 20
export const failures: ReadonlySet<string> = new Set(['crashed', 'failed', 'lost', 'destroyed'])

type Restarts = {
  at: number[]
  lastAttempt: number | null
  lastJob: string | null
  failed: number
  since: number | null
  foundNoHost: boolean
}

/** What one life of a coordinator knows of VMs that have to start again. As coordinator/ha/store-world.ts. */
export class SimRestarts {
  readonly #coordinator: SimCoordinator
  readonly #restarts = new Map<string, Restarts>()

  constructor(coordinator: SimCoordinator) {
    this.#coordinator = coordinator
  }

  failedVms(): FailedVm[] {
    const failed: FailedVm[] = []
    for (const row of this.#coordinator.records.vms.values()) {
      const restarts = this.#restarts.get(row.id)
      if (this.#isFailed(row) || this.#isStarting(row, restarts)) failed.push(this.#failed(row))
      else if (restarts) restarts.since = null
    }
    return failed
  }

  #isFailed(row: VmRow): boolean {
    const vm = this.#coordinator.world.vm(row.id)
    if (!row.wantedRunning || vm.ha === false || !this.#coordinator.isKnown(row.id)) return false
    if (row.status === 'down') return failures.has(row.exitReason)
    if (row.status !== 'unknown' || row.hostId === null || !hasLease(vm)) return false
    return hostRow(this.#coordinator.records, row.hostId).health === 'non_responsive'
  }

  #isStarting({ status }: VmRow, restarts: Restarts | undefined): boolean {
    if (!restarts || restarts.lastJob === null || status === 'up') return false
    return this.#coordinator.records.jobs.some(({ id }) => id === restarts.lastJob)
  }

  #failed(row: VmRow): FailedVm {
    const { world, records, jobs } = this.#coordinator
    const vm = world.vm(row.id)
    const restarts = this.#restartsOf(row.id)
    if (restarts.lastJob !== null && !records.jobs.some(({ id }) => id === restarts.lastJob)) {
      if (!jobs.undone.has(restarts.lastJob)) restarts.at.push(restarts.lastAttempt ?? world.now)
      restarts.failed = jobs.undone.has(restarts.lastJob) ? restarts.failed + 1 : 0
      restarts.foundNoHost = jobs.undone.get(restarts.lastJob) === 'no host'
      restarts.lastJob = null
    }
    restarts.since ??= world.now
    const { now } = world
    return {
      ...{ vmId: row.id, name: row.id, priority: vm.priority ?? 50, isHa: true, hasLease: hasLease(vm) },
      ...{ failedSince: seconds(restarts.since), dependsOn: vm.dependsOn ?? [] },
      recentRestarts: restarts.at.filter(at => now - at < 3600).length,
      lastAttempt: restarts.lastAttempt === null ? null : seconds(restarts.lastAttempt),
      ...{ lastAttemptFailed: restarts.failed > 0, failedAttempts: restarts.failed },
      foundNoHost: restarts.foundNoHost,
      hasRoomNow: false,
      hasJob: jobs.claims(row.id)
    }
  }

  #restartsOf(vmId: string): Restarts {
    const known = this.#restarts.get(vmId)
    if (known) return known
    const fresh: Restarts = {
      at: [],
      lastAttempt: null,
      lastJob: null,
      failed: 0,
      since: null,
      foundNoHost: false
    }
    this.#restarts.set(vmId, fresh)
    return fresh
  }

  freeStarts(): number {
    const starting = this.#coordinator.records.jobs.filter(
      ({ kind, step }) => kind === 'restart' && step === 'start'
    ).length
    return Math.max(0, startsAtOnce - starting)
  }

  restart(vmIds: string[]): void {
    for (const vmId of vmIds) {
      const row = vmRow(this.#coordinator.records, vmId)
      const proof = row.status === 'unknown' ? 'lease_free' : (row.proof ?? 'down')
      row.proof = null
      const restarts = this.#restartsOf(vmId)
      Object.assign(restarts, {
        lastAttempt: this.#coordinator.world.now,
        lastJob: this.#coordinator.jobs.order('restart', { vm: vmId, proof })
      })
    }
  }
}
