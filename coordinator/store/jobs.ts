import type { Selectable } from 'kysely'
import { Fault } from '../../common/fault.js'
import type { Progress } from '../jobs/progress.js'
import { claim, releaseClaims, type Claim } from './claims.js'
import { unreserveJob } from './pending.js'
import { bit, parsed, parsedOrNull, sql, type Reader, type Tx } from './query.js'
import type { JobState, JobStepTable, JobTable } from './tables.js'

type Row = Selectable<JobTable>
type StepRow = Selectable<JobStepTable>

export type Job = Omit<
  Row,
  'objectsJson' | 'contextJson' | 'turnedBackJson' | 'isCancelled' | 'resultJson' | 'progressJson'
> & {
  objects: Record<string, string>
  context: object
  turnedBack: Fault | null
  isCancelled: boolean
  result: Record<string, string>
  progress: Progress | null
}

export type JobStep = Omit<StepRow, 'isOpen' | 'faultJson' | 'progressJson'> & {
  /** Whether the last attempt has no final answer yet. */
  isOpen: boolean
  fault: Fault | null
  progress: Progress | null
}

export type NewJob = {
  id: string
  kind: string
  kindVersion: number
  objects: Record<string, string>
  context: object
  steps: ReadonlyArray<{ name: string; weight?: number }>
  claims: readonly Claim[]
  /** "local", "admin/NAME" or "system". */
  actor: string
  /** Empty for the system's own. */
  requestId: string
  epoch: number
  created: number
}

/** With its steps and claims, in the transaction of whatever else it reserves. */
export function insertJob(tx: Tx, { steps, claims, objects, context, ...job }: NewJob): void {
  tx.run(
    sql.insertInto('job').values({
      ...job,
      objectsJson: JSON.stringify(objects),
      contextJson: JSON.stringify(context),
      state: 'queued',
      vmId: objects['vm'] ?? ''
    })
  )
  for (const [ordinal, { name, weight = 1 }] of steps.entries()) {
    tx.run(sql.insertInto('jobStep').values({ jobId: job.id, ordinal, name, weight, isOpen: 0 }))
  }
  claim(tx, job.id, claims)
}

function jobOf(row: Row): Job {
  const { objectsJson, contextJson, turnedBackJson, isCancelled, resultJson, progressJson, ...rest } = row
  return {
    ...rest,
    objects: parsed(objectsJson),
    context: parsed(contextJson),
    turnedBack: faultOrNull(turnedBackJson),
    isCancelled: isCancelled === 1,
    result: parsed(resultJson),
    progress: parsedOrNull(progressJson)
  }
}

export function faultOrNull(json: string | null): Fault | null {
  if (json === null) return null
  const error = Fault.fromJSON(parsed(json))
  return error instanceof Fault ? error : new Fault('INTERNAL', error.message)
}

export function jobOrNull(reader: Reader, id: string): Job | null {
  const found = reader.first(sql.selectFrom('job').selectAll().where('id', '=', id))
  return found && jobOf(found)
}

export function job(reader: Reader, id: string): Job {
  const found = jobOrNull(reader, id)
  if (!found) throw new Fault('NOT_FOUND', `no job ${id}`, { facts: { job: id } })
  return found
}

/** Rows of a query over the table, for lists. */
export const jobsFrom = (rows: readonly Row[]): Job[] => rows.map(jobOf)

/** What a coordinator that starts has to carry on, oldest first. */
export const unfinishedJobs = (reader: Reader): Job[] =>
  reader
    .all(sql.selectFrom('job').selectAll().where('ended', 'is', null).orderBy('created').orderBy('id'))
    .map(jobOf)

export const jobSteps = (reader: Reader, jobId: string): JobStep[] =>
  reader
    .all(sql.selectFrom('jobStep').selectAll().where('jobId', '=', jobId).orderBy('ordinal'))
    .map(({ isOpen, faultJson, progressJson, ...row }) => ({
      ...row,
      isOpen: isOpen === 1,
      fault: faultOrNull(faultJson),
      progress: parsedOrNull(progressJson)
    }))

export function setJobState(tx: Tx, id: string, state: JobState, epoch: number): void {
  tx.run(sql.updateTable('job').set({ state, epoch }).where('id', '=', id))
}

export function setJobProgress(tx: Tx, id: string, progress: Progress): void {
  tx.run(
    sql
      .updateTable('job')
      .set({ progressJson: JSON.stringify(progress) })
      .where('id', '=', id)
  )
}

/** Adds facts about the outcome. */
export function addJobResult(tx: Tx, id: string, facts: Record<string, string>): void {
  const resultJson = JSON.stringify({ ...job(tx, id).result, ...facts })
  tx.run(sql.updateTable('job').set({ resultJson }).where('id', '=', id))
}

/** A wish; whoever carries the job on looks at it. */
export function cancelJob(tx: Tx, id: string): void {
  tx.run(
    sql
      .updateTable('job')
      .set({ isCancelled: bit(true) })
      .where('id', '=', id)
      .where('ended', 'is', null)
  )
}

/** The job is over: what it holds is free in the same transaction. */
export function endJob(tx: Tx, id: string, state: 'succeeded' | 'undone', now: number): void {
  tx.run(sql.updateTable('job').set({ state, ended: now }).where('id', '=', id))
  releaseClaims(tx, id)
  unreserveJob(tx, id)
}

/** Jobs are kept for 30 days. */
export function forgetJobs(tx: Tx, endedBefore: number): void {
  tx.run(sql.deleteFrom('job').where('ended', '<', endedBefore))
}
