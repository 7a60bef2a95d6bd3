import type { Fault } from '../common/fault.js'

/** What the program ends with; scripts may rely on it. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  unreachable: 5,
  conflict: 6,
  late: 7,
  interrupted: 130
} as const

/** Every exit code in words, for --help and the reference page. */
export const exitCodeTexts: Record<keyof typeof exitCodes, string> = {
  ok: 'Done.',
  failed: 'It failed, or the job that was waited for was undone.',
  usage: 'The command line or a value in it is wrong.',
  notFound: 'An object does not exist, or is not visible to you.',
  denied: 'Not allowed, or no valid certificate.',
  unreachable: 'The daemon, host or storage does not answer; trying again may help.',
  conflict: 'The object is in another state, was changed meanwhile, or exists already.',
  late: 'The time limit passed; the outcome is not known.',
  interrupted: 'Interrupted by Ctrl-C. Jobs go on.'
}

export function exitCodeOf({ status }: Fault): number {
  switch (status) {
    case 'INVALID_ARGUMENT':
      return exitCodes.usage
    case 'NOT_FOUND':
      return exitCodes.notFound
    case 'PERMISSION_DENIED':
    case 'UNAUTHENTICATED':
      return exitCodes.denied
    case 'UNAVAILABLE':
      return exitCodes.unreachable
    case 'ABORTED':
    case 'ALREADY_EXISTS':
    case 'FAILED_PRECONDITION':
      return exitCodes.conflict
    case 'DEADLINE_EXCEEDED':
      return exitCodes.late
    default:
      return exitCodes.failed
  }
}
