import { programs } from './packet.js'
import { struct, type Codec, type Fields, type StructOf } from './xdr.js'

/**
 * Which connection a call goes over, by what it may wait for (see connections.ts):
 * control: nothing · jobs: a QEMU monitor · steering: a monitor, and must get past a running call about the
 * same guest · guest: the agent inside a guest · stats: bulk statistics · long: minutes by design.
 */
export type Lane = 'control' | 'jobs' | 'steering' | 'guest' | 'stats' | 'long'

export type Procedure<A, R> = {
  readonly program: number
  readonly number: number
  readonly lane: Lane
  /** Whether data packets follow the reply. */
  readonly opensStream: boolean
  readonly args: Codec<A>
  readonly result: Codec<R>
}

type Row = <A extends Fields, R extends Fields>(
  number: number,
  args: A,
  result: R
) => Procedure<StructOf<A>, StructOf<R>>

const row =
  (lane: Lane, program: number, opensStream = false): Row =>
  (number, args, result) => ({
    program,
    number,
    lane,
    opensStream,
    args: struct(args),
    result: struct(result)
  })

/** One function for each lane: `jobs(34, { dom: domain }, {})` is a row of the table. */
export const control = row('control', programs.REMOTE)
export const jobs = row('jobs', programs.REMOTE)
export const steering = row('steering', programs.REMOTE)
export const guest = row('guest', programs.REMOTE)
export const stats = row('stats', programs.REMOTE)
export const long = row('long', programs.REMOTE)
export const stream = row('jobs', programs.REMOTE, true)
export const qemuControl = row('control', programs.QEMU)
export const qemuJobs = row('jobs', programs.QEMU)
export const qemuGuest = row('guest', programs.QEMU)
