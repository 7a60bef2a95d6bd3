import type { VmStatus } from '../../../coordinator/store/tables.js'
import type { SimCoordinator } from './coordinator.js'
import type { Copy, Machine } from './machine.js'
import { vmRow, type HostRow, type VmRow } from './records.js'

const statusOf: Record<Copy['state'], VmStatus> = {
  ...{ running: 'up', paused: 'paused', leaving: 'migrating_from', arriving: 'migrating_to' }
}

/**
 * A host tells everything that it has; what is on record and not there is gone. As coordinator/host-session.ts,
 * where what was not believed is judged again later. Says whether all was believed.
 */
export function hear(coordinator: SimCoordinator, host: Machine, row: HostRow, isAgain: boolean): boolean {
  const { world, records } = coordinator
  Object.assign(row, { version: host.version, hasStorage: host.storage })
  const said = new Set<string>()
  let isAllBelieved = true
  for (const copy of world.copies) {
    if (copy.host !== host.id) continue
    said.add(copy.vm)
    const { vm, generation, state, to } = copy
    if (!see(coordinator, host.id, vm, generation, statusOf[state], '', to)) isAllBelieved = false
  }
  if (isAgain) return isAllBelieved
  for (const [vm, { generation, exitReason, to }] of host.ended) {
    if (said.has(vm)) continue
    said.add(vm)
    see(coordinator, host.id, vm, generation, 'down', exitReason, to)
  }
  for (const vm of records.vms.values()) if (!said.has(vm.id)) unsee(coordinator, host.id, vm)
  return isAllBelieved
}

function see(
  coordinator: SimCoordinator,
  hostId: string,
  vmId: string,
  generation: number,
  status: VmStatus,
  exitReason: string,
  to: string | null
): boolean {
  const { world, records, name } = coordinator
  const known = vmRow(records, vmId)
  const isHostHeard = known.hostId !== null && coordinator.hasTold(world.machine(known.hostId))
  const verdict = world.rules.judge({ hostId, generation, status, exitReason }, { ...known, isHostHeard })
  switch (verdict.kind) {
    case 'ghost':
      if (!world.rules.sparesGhosts)
        world.end(copy => copy.vm === vmId && copy.generation > generation, 'destroyed')
      break
    case 'ignore':
      break
    case 'arriving':
      known.migratingToHostId = hostId
      break
    case 'notArriving':
      known.migratingToHostId = null
      break
    case 'left': {
      const next = known.migratingToHostId ?? to
      Object.assign(known, {
        status: next === null ? 'unknown' : 'migrating_to',
        hostId: next ?? hostId,
        migratingToHostId: null,
        ...{ generation, observedGeneration: generation }
      })
      break
    }
    case 'believe': {
      if (status !== 'down') coordinator.stale.noteVm(vmId, hostId)
      const isMigrating = status === 'migrating_from'
      if (known.status !== status || known.hostId !== verdict.hostId)
        world.tell(`${name}: ${vmId} is ${status} on ${hostId}${exitReason && ` (${exitReason})`}`)
      Object.assign(known, {
        ...{ status, hostId: verdict.hostId, exitReason, observedGeneration: generation },
        generation,
        migratingToHostId: isMigrating ? (to ?? known.migratingToHostId) : null
      })
      if (status === 'down' && exitReason === 'shutdown') known.wantedRunning = false
    }
  }
  return !world.rules.isUnbelieved(verdict, { status })
}

function unsee(coordinator: SimCoordinator, hostId: string, known: VmRow): void {
  const { world, name } = coordinator
  if (known.migratingToHostId === hostId) known.migratingToHostId = null
  if (known.hostId !== hostId || known.status === 'down') return
  if (!coordinator.isKnown(known.id)) {
    known.status = 'unknown'
    return
  }
  const isNewer = known.observedGeneration < known.generation
  Object.assign(known, { status: 'down', hostId: null, ...(!isNewer && { exitReason: 'lost' }) })
  world.tell(`${name}: ${known.id} disappeared from ${hostId}`)
}
