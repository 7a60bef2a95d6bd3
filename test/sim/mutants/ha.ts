import { decide, type HaPolicy } from '../../../coordinator/ha/decide.js'
import { seconds } from '../../../common/units.js'
import { production, type Rules } from '../ha-world.js'

/** A bug put in on purpose: the simulator must find it within 2,000 seeds. */
export type Mutant = { name: string; mustBreak: string; rules: Rules }

export const mutants: Mutant[] = [
  {
    name: 'restart without taking the lease',
    mustBreak: 'I1',
    rules: { ...production, acquiresLease: false }
  },
  { name: 'a host counts as dead after 60 s', mustBreak: 'I1', rules: { ...production, deadAfter: 60 } },
  { name: 'a host counts as dead after 100 s', mustBreak: 'I1', rules: { ...production, deadAfter: 100 } },
  {
    name: 'the reply of the off command is taken as proof',
    mustBreak: 'I1',
    rules: { ...production, replyIsProof: true }
  },
  { name: 'no watchdog behind sanlock', mustBreak: 'I1', rules: { ...production, hasWatchdog: false } },
  {
    name: 'silence counts as proof',
    mustBreak: 'I1',
    rules: {
      ...production,
      decide: (health, seen, cluster, policy, now) => {
        const next = decide(health, seen, cluster, policy, now)
        if (next.health.kind !== 'non_responsive' || health.kind === 'non_responsive') return next
        return { ...next, actions: [...next.actions, 'restartAllVms'] }
      }
    }
  },
  {
    name: 'one read that says off is proof, also when it is old',
    mustBreak: 'I1',
    rules: {
      ...production,
      replyIsProof: true,
      decide: (health, seen, cluster, policy, now) =>
        decide(health, seen, cluster, { ...policy, statusGap: seconds(0) } satisfies HaPolicy, now)
    }
  },
  {
    name: 'the off command ignores a living lease',
    mustBreak: 'I16',
    rules: {
      ...production,
      decide: (health, seen, cluster, policy, now) =>
        decide(health, { ...seen, lease: seen.isHeard ? seen.lease : 'failing' }, cluster, policy, now)
    }
  },
  {
    name: 'a failed VM is never restarted',
    mustBreak: 'I15',
    rules: {
      ...production,
      decideRestarts: () => []
    }
  }
]
