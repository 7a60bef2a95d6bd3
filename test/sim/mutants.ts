import { seconds } from '../../common/units.js'
import { production, type Rules } from './rules.js'

/** A bug put in on purpose: the simulator must find it within 2,000 seeds of a family. */
export type Mutant = { name: string; family: string; mustBreak: string; rules: Rules }

type Decide = Rules['decide']
const bug = (name: string, family: string, mustBreak: string, change: Partial<Rules>): Mutant => {
  return { name, family, mustBreak, rules: { ...production, ...change } }
}
const seeing =
  (change: (seen: Parameters<Decide>[1]) => Partial<Parameters<Decide>[1]>): Decide =>
  (health, seen, cluster, policy, now) =>
    production.decide(health, { ...seen, ...change(seen) }, cluster, policy, now)
const amid =
  (change: Partial<Parameters<Decide>[2]>): Decide =>
  (health, seen, cluster, policy, now) =>
    production.decide(health, seen, { ...cluster, ...change }, policy, now)

export const mutants: Mutant[] = [
  // Two coordinators, and stores older than the world.
  bug('two coordinators that share the hosts both restart', 'coordinators', 'I1', {
    mayActUnasked: () => true
  }),
  bug('hosts obey two coordinators with one epoch', 'coordinators', 'I1', { throwIfTwin: () => {} }),
  bug('a restored store keeps its old generation of a host', 'coordinators', 'I12', {
    generationOf: recorded => recorded
  }),
  bug('what a host said too early is forgotten', 'coordinators', 'I14', { isUnbelieved: () => false }),
  bug('a restored store is trusted', 'coordinators', 'I1', { suspectsOldStores: false }),
  // Leases and the laws they rest on.
  bug('a restart takes no lease', 'host-loss', 'I1', { acquiresLease: false, awaitsLease: false }),
  bug('a host counts as dead after 60 s', 'partitions', 'I1', { deadAfter: 60 }),
  bug('a host counts as dead after 100 s', 'storage', 'I1', { deadAfter: 100 }),
  bug('no watchdog behind sanlock', 'storage', 'I1', { hasWatchdog: false }),
  bug('a manager is not killed when its lease is lost, and no watchdog is there', 'manager', 'I10', {
    ...{ hasWatchdog: false, killsHolders: false }
  }),
  bug('the manager lease is taken after 60 s', 'manager', 'I10', { deadAfter: 60 }),
  bug('leases are cleared without comparing', 'lying-device', 'I2', {
    clearingCompares: false,
    decide: seeing(() => ({ lastRenewal: null }))
  }),
  bug('leases are cleared after any proof', 'partitions', 'I2', {
    clearsOnlyAfterPower: false,
    decide: seeing(({ isHeard, isConfirmedByOperator }) => ({
      isConfirmedByOperator: isConfirmedByOperator || !isHeard
    }))
  }),
  // Proof.
  bug('silence counts as proof', 'partitions', 'I1', {
    decide: (health, seen, cluster, policy, now) => {
      const next = production.decide(health, seen, cluster, policy, now)
      if (next.health.kind !== 'non_responsive' || health.kind === 'non_responsive') return next
      return { ...next, actions: [...next.actions, 'restartAllVms'] }
    }
  }),
  bug('the answer to the off command counts as proof', 'fencing', 'I1', { replyProvesNothing: false }),
  bug('a renewal after "off" is overlooked', 'lying-device', 'I1', {
    decide: seeing(() => ({ lastRenewal: null }))
  }),
  bug('a device that gives no answer counts as off', 'partitions', 'I1', {
    noteRound: (before, states, at) =>
      production.noteRound(
        before,
        states.map(() => 'off' as const),
        at
      )
  }),
  bug('a crash message is believed of every silent host', 'partitions', 'I1', {
    decide: seeing(({ isHeard }) => ({ isKdumping: !isHeard }))
  }),
  bug('a host that is heard again is taken for one that has booted', 'flapping', 'I14', {
    decide: seeing(() => ({ hasNewBoot: true }))
  }),
  // Treatment.
  bug('the off command ignores a living lease', 'partitions', 'I16', {
    decide: seeing(({ isHeard, lease }) => ({ lease: isHeard ? lease : 'failing' }))
  }),
  bug('the off command is given although nobody watched the lease', 'flapping', 'I16', {
    readLease: opinions => {
      const reading = production.readLease(opinions)
      return reading === 'unknown' || reading === 'live' ? 'failing' : reading
    }
  }),
  bug('two hosts are fenced at once', 'two-victims', 'I16', { decide: amid({ fencing: 0 }) }),
  bug('half of the hosts silent raises no suspicion', 'fencing', 'I16', { decide: amid({ silentHosts: 1 }) }),
  bug('fencing right after the start', 'coordinators', 'I16', {
    decide: amid({ coordinatorUptime: seconds(9999) })
  }),
  // Restarts.
  bug('a failed VM is never restarted', 'host-loss', 'I15', { decideRestarts: () => [] }),
  bug('a VM with a job is restarted again', 'host-loss', 'I12', {
    decideRestarts: (vms, free, now, up) =>
      production.decideRestarts(
        vms.map(vm => ({ ...vm, hasJob: false, lastAttempt: null })),
        free,
        now,
        up
      )
  }),
  bug('a low priority waits for ever', 'host-loss', 'I15', {
    decideRestarts: (vms, free, now, up) =>
      production.decideRestarts(vms, free, now, up).map(decision => {
        const low = vms.find(({ vmId, priority }) => vmId === decision.vmId && priority > 50)
        return low ? { vmId: low.vmId, kind: 'wait', why: 'bug' } : decision
      })
  }),
  bug('a VM that found no host is given up', 'storage', 'I15', {
    decideRestarts: (vms, free, now, up) =>
      production.decideRestarts(vms, free, now, up).map(decision => {
        const failed = vms.find(({ vmId, failedAttempts }) => vmId === decision.vmId && failedAttempts > 0)
        return failed ? { vmId: failed.vmId, kind: 'giveUp', why: 'bug' } : decision
      })
  }),
  bug('a start whose answer was lost is forgotten', 'replies', 'I1', { takesStartsBack: false }),
  bug('a VM that nobody has stays unknown', 'coordinators', 'I15', { orphansOf: () => [] }),
  bug('a renewal of a lease is never heard of again', 'manager', 'I10', { hasRenewedSince: () => false }),
  bug('a record that is seen for the first time tells of no renewal', 'manager', 'I10', {
    tellsOfRenewals: () => true
  }),
  // What hosts say.
  bug('the host on record is always taken for heard', 'coordinators', 'I1', {
    judge: (seen, known) => production.judge(seen, { ...known, isHostHeard: true })
  }),
  bug('whoever reports a VM has it', 'migration', 'I14', {
    judge: ({ hostId }) => ({ kind: 'believe', hostId })
  }),
  bug('a VM that disappeared from a host that never had it is lost', 'migration', 'I1', {
    judge: (seen, known) =>
      seen.status === 'down' ? { kind: 'believe', hostId: null } : production.judge(seen, known)
  }),
  bug('an arriving VM counts as arrived', 'migration', 'I1', {
    judge: (seen, known) => {
      const verdict = production.judge(seen, known)
      return verdict.kind === 'arriving' || verdict.kind === 'notArriving'
        ? { kind: 'believe', hostId: seen.hostId }
        : verdict
    }
  }),
  bug('no news of a VM means that it runs', 'host-loss', 'I15', {
    judge: (seen, known) => (seen.status === 'down' ? { kind: 'ignore' } : production.judge(seen, known))
  }),
  // Migration.
  bug('both sides run after the switch-over', 'migration', 'I1', { switchesOverLast: false }),
  bug('a silent source counts as gone', 'migration', 'I12', {
    ownerOf: (source, destination) => {
      const owner = production.ownerOf(source, destination)
      return owner === 'source' ? 'unclear' : owner
    }
  }),
  // Coordinators and requests.
  bug('a repeated request has a second effect', 'replies', 'I1', { remembersRequests: false }),
  bug('an older coordinator is obeyed', 'twins', 'I14', {
    throwIfStale: () => {},
    throwIfStaleEpoch: () => {}
  }),
  // Alone it does no harm any more: hosts tell two with one epoch apart.
  bug('a coordinator takes no new epoch, and hosts obey both', 'twins', 'I1', {
    ...{ takesEpoch: false, throwIfTwin: () => {} }
  }),
  // Maintenance and upgrade.
  bug('a host is rebooted before it is empty', 'upgrade', 'M1', { drainsFirst: false }),
  bug('a host that is being emptied gets VMs', 'upgrade', 'M1', { keepsDrainedEmpty: false }),
  bug('an upgrade takes every host at once', 'upgrade', 'U1', {
    nextUpgrades: ({ hosts }, out) => production.nextUpgrades({ hosts, atOnce: 99 }, out)
  }),
  bug('an upgrade goes on after a failure', 'upgrade', 'I12', {
    nextUpgrades: (plan, out) => ({ ...production.nextUpgrades(plan, out), isOver: false })
  }),
  bug('a VM that cannot leave is tried for ever', 'maintenance', 'I12', { stuckOf: () => [] })
]
