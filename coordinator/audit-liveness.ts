import { found, type Finding } from './finding.js'
import { sql, type Reader } from './store/query.js'
import { vms, type Vm } from './store/vms.js'

// I15: a VM that must run does run, or it is written down why it cannot.

/** The longest restart is that of a VM whose lease must first be free: reliability.md §1. */
const patience = 5 * 60_000
const deaths = ['crashed', 'failed', 'lost']

export function livenessFindings(reader: Reader, now: number): Finding[] {
  return [...forgottenVms(reader, now), ...silentHosts(reader, now)]
}

/** Down although it should run, for longer than a restart takes, and nobody has tried since. */
function forgottenVms(reader: Reader, now: number): Finding[] {
  const dead = vms(reader).filter(
    vm =>
      vm.isHa && vm.wantedRunning && !vm.isExternal && vm.status === 'down' && deaths.includes(vm.exitReason)
  )
  return dead.flatMap(vm => {
    const since = lastHeard(reader, vm)
    if (since === null || now - since < patience) return []
    const tried = reader.first(
      sql
        .selectFrom('job')
        .select('id')
        .where('vmId', '=', vm.id)
        .where(eb => eb.or([eb('ended', 'is', null), eb('created', '>=', since)]))
    )
    return tried
      ? []
      : [found('I15', `vm ${vm.id}`, `${vm.name} should run and is down; nothing is being done`)]
  })
}

const lastHeard = (reader: Reader, { id }: Vm): number | null =>
  reader.first(
    sql.selectFrom('event').select('time').where('vmId', '=', id).orderBy('sequence', 'desc').limit(1)
  )?.time ?? null

/** VMs of a host that is silent wait for a proof: which one must be said. */
function silentHosts(reader: Reader, now: number): Finding[] {
  const silent = reader.all(
    sql
      .selectFrom('host')
      .select(['id', 'name'])
      .where('health', '=', 'non_responsive')
      .where('healthSince', '<', now - patience)
      .where('missing', '=', '')
  )
  const waiting = new Set(vms(reader).flatMap(({ status, hostId }) => (status === 'unknown' ? [hostId] : [])))
  return silent.flatMap(({ id, name }) =>
    waiting.has(id)
      ? [found('I15', `host ${id}`, `the VMs of ${name} wait, and for what is not recorded`)]
      : []
  )
}
