import { addEvent } from '../store/events.js'
import { noteHost } from '../store/hosts.js'
import type { Tx } from '../store/query.js'
import { noteVm, vmsOfHost, type Vm } from '../store/vms.js'
import type { RestartProof } from '../jobs/restart-vm.js'

/** What the HA loop keeps with a VM: why it may be started again although nobody saw it stop. */
export type RestartNote = { proof: RestartProof }

export const noteOf = ({ restarts }: Pick<Vm, 'restarts'>): RestartNote | null => {
  return restarts !== null && 'proof' in restarts ? (restarts as RestartNote) : null
}

const runsSomewhere = ({ status, isExternal }: Vm) =>
  !isExternal && status !== 'down' && status !== 'creating'

/**
 * Its host is silent: nobody knows. What it told of them is given up, so it has to tell everything when it is back,
 * and not only what has changed since: a VM that just ran on would stay unknown, and be taken for lost.
 */
export function markUnknown(tx: Tx, hostId: string): number {
  const lost = vmsOfHost(tx, hostId).filter(row => runsSomewhere(row) && row.status !== 'unknown')
  for (const { id } of lost) noteVm(tx, id, { status: 'unknown', pauseReason: '', guestJson: null })
  if (lost.length > 0) noteHost(tx, hostId, { incarnation: '', sequence: 0 })
  return lost.length
}

/** Its host is proven to run nothing: so is the VM. The restart loop starts those that are highly available. */
export function markLost(
  tx: Tx,
  host: { id: string; name: string },
  proof: RestartProof,
  now: number,
  only: readonly string[] | null = null
): string[] {
  const lost = vmsOfHost(tx, host.id).filter(
    row => runsSomewhere(row) && (only === null || only.includes(row.id))
  )
  for (const { id, name, isHa } of lost) {
    const message = `host ${host.name} stopped while the VM ran there`
    const failure = {
      reason: 'INTERRUPTED',
      message,
      nextStep: nextStep(isHa),
      facts: { host: host.id },
      time: null
    }
    noteVm(tx, id, {
      status: 'down',
      exitReason: 'lost',
      pauseReason: '',
      hostId: null,
      migratingToHostId: null,
      guestJson: null,
      migrationJson: null,
      failureJson: JSON.stringify(failure),
      restartsJson: JSON.stringify({ proof } satisfies RestartNote)
    })
    addEvent(
      tx,
      {
        severity: 'error',
        kind: 'vm.lost',
        text: `VM ${name}: ${message}`,
        objects: { vm: id, host: host.id }
      },
      now
    )
  }
  return lost.map(({ id }) => id)
}

const nextStep = (isHa: boolean) =>
  isHa ? 'It is restarted on another host.' : 'Start it: `drover vm start`.'
