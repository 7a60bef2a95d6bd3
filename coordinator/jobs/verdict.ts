import { Fault } from '../../common/fault.js'

/** What to do after an attempt at a step has failed. */
export type Verdict =
  /** Nothing was decided over there: ask again with the same request id. */
  | 'again'
  /** A final answer for its request id, but perhaps not for the next one. */
  | 'newAttempt'
  | 'final'

/** How often a step is begun anew after a final answer that may not be the last word. */
export const mostAttempts = 3

/** Decides by the kind of failure and never by its text. */
export function verdictOn(error: unknown): Verdict {
  if (!(error instanceof Fault)) return 'final'
  if (error.status === 'UNAVAILABLE' || error.status === 'DEADLINE_EXCEEDED') return 'again'
  return error.status === 'RESOURCE_EXHAUSTED' && !lasting.has(error.reason) ? 'newAttempt' : busy(error)
}

// What runs out for hours and not for moments: trying again would only delay the answer.
const lasting: ReadonlySet<string> = new Set(['NO_SPACE', 'STORAGE_DOMAIN_FULL'])

const busy = ({ reason }: Fault): Verdict => (reason === 'BUSY' ? 'newAttempt' : 'final')

/** Whatever was thrown, as a Fault: a bug shows its name to people, and its stack only to the log. */
export function faultFrom(error: unknown): Fault {
  if (error instanceof Fault) return error
  return new Fault('INTERNAL', 'internal error in the job; the log of the coordinator has it', {
    cause: error
  })
}
