import type { HostUpgrade } from '../../../coordinator/jobs/upgrade-plan.js'
import type { VmStatus } from '../../../coordinator/store/tables.js'
import type { SimWorld } from './world.js'

// What the coordinator keeps on disk. It survives its death; a backup is a copy of it.

export type HostRow = {
  id: string
  name: string
  health: 'initializing' | 'up' | 'connecting' | 'non_responsive' | 'proven_stopped'
  proof: string
  fences: number
  generation: number
  mode: 'active' | 'preparing' | 'maintenance'
  bootId: number
  lostBootId: number | null
  version: number
  hasStorage: boolean
}

export type VmRow = {
  id: string
  generation: number
  observedGeneration: number
  status: VmStatus
  hostId: string | null
  migratingToHostId: string | null
  exitReason: string
  wantedRunning: boolean
  /** Why it may be restarted although nobody saw it stop. */
  proof: string | null
}

export type Job = {
  id: string
  kind: 'start' | 'restart' | 'stop' | 'migrate' | 'evacuate' | 'upgrade' | 'activate'
  vm: string
  host: string
  step: string
  /** The host that was chosen. */
  target: string | null
  generation: number
  attempt: number
  since: number
  excluded: string[]
  proof: string
  /** Whether a start may have had its effect although nobody heard of it. */
  wasSent: boolean
  failures: Record<string, number>
}

export type Records = {
  epoch: number
  /** May be older than the world. */
  isStale: boolean
  hosts: Map<string, HostRow>
  vms: Map<string, VmRow>
  jobs: Job[]
  jobCount: number
  upgrade: HostUpgrade[] | null
}

/** Everything runs where the world says, and the coordinator knows. */
export function firstRecords(world: SimWorld): Records {
  const hosts = [...world.machines.keys()].map((id): [string, HostRow] => [
    id,
    {
      ...{ id, name: id, health: 'up', proof: '', fences: 0, generation: 1, mode: 'active' },
      ...{ bootId: 1, lostBootId: null, version: 1, hasStorage: true }
    }
  ])
  const vms = [...world.vms.values()].map((vm): [string, VmRow] => [
    vm.id,
    {
      ...{ id: vm.id, generation: 1, observedGeneration: 1, status: 'up', hostId: vm.on },
      ...{ migratingToHostId: null, exitReason: '', wantedRunning: true, proof: null }
    }
  ])
  const rows = { hosts: new Map(hosts), vms: new Map(vms) }
  return { epoch: 0, isStale: false, ...rows, jobs: [], jobCount: 0, upgrade: null }
}

export function hostRow({ hosts }: Records, id: string): HostRow {
  const found = hosts.get(id)
  if (!found) throw new Error(`no record of host ${id}`)
  return found
}

export function vmRow({ vms }: Records, id: string): VmRow {
  const found = vms.get(id)
  if (!found) throw new Error(`no record of VM ${id}`)
  return found
}

export const isRunning = ({ status }: VmRow) => status !== 'down' && status !== 'creating'
