import type { Sighting } from '../../../coordinator/jobs/migration-owner.js'
import type { JobsOfLife } from './jobs.js'
import type { Machine } from './machine.js'
import { vmRow, type Job } from './records.js'
import { isAwake } from './wire.js'

const standardLength = 15

/** A migration, as coordinator/jobs/migrate-vm.ts: whatever its call says, both hosts are asked who has the VM. */
export function migrate(jobs: JobsOfLife, job: Job): void {
  const { world, records } = jobs.coordinator
  const row = vmRow(records, job.vm)
  switch (job.step) {
    case 'choose':
      if (row.hostId === null || row.status !== 'up') return jobs.over(job, true, 'it does not run')
      job.host = row.hostId
      job.generation = row.generation
      job.target ??= jobs.choose(job, job.vm, row.hostId)
      if (job.target === null || job.target === job.host) return jobs.over(job, true, 'no host')
      return jobs.next(job, 'prepare')
    case 'prepare': {
      const to = world.machine(job.target ?? '')
      const answer = jobs.ask(job, to, 'prepare', () => prepare(jobs, to, job))
      if (answer.kind === 'ok' && answer.word === 'ready') return jobs.next(job, 'migrate')
      if (answer.kind === 'ok' || world.now - job.since >= 60) return jobs.next(job, 'settle')
      return
    }
    case 'migrate': {
      const from = world.machine(job.host)
      const answer = jobs.ask(job, from, 'migrate', () => leave(jobs, from, job))
      if (answer.kind === 'ok' || world.now - job.since >= 60) jobs.next(job, 'settle')
      return
    }
    default:
      return settle(jobs, job)
  }
}

/** Room and disks; QEMU begins with the migration. */
function prepare(jobs: JobsOfLife, host: Machine, { vm }: Job): string {
  const { world } = jobs.coordinator
  return !host.storage || !host.inLockspace || world.copyOn(vm, host.id) ? 'refused' : 'ready'
}

function leave(jobs: JobsOfLife, host: Machine, { vm, target, generation }: Job): string {
  const { world } = jobs.coordinator
  const copy = world.copyOn(vm, host.id)
  const to = world.machine(target ?? '')
  if (copy?.state !== 'running' || !to.isOn || !to.storage || !to.inLockspace) return 'refused'
  // The start that is meant is another one.
  if (copy.generation !== generation) return 'refused'
  if (world.copyOn(vm, to.id)) return 'refused'
  const takes = world.vm(vm).moves ?? standardLength
  Object.assign(copy, { state: 'leaving', to: target, switchesAt: world.now + takes })
  to.ended.delete(vm)
  world.copies.push({ ...copy, host: to.id, state: 'arriving', to: null })
  host.changes++
  to.changes++
  return 'leaving'
}

function settle(jobs: JobsOfLife, job: Job): void {
  const { world } = jobs.coordinator
  const source = lookAt(jobs, job.host, job)
  const destination = lookAt(jobs, job.target ?? '', job)
  switch (world.rules.ownerOf(source, destination)) {
    case 'destination':
      if (source.kind === 'runs') return
      return jobs.over(job, false)
    case 'source':
      return giveUp(jobs, job, destination)
    case 'nobody':
      return jobs.over(job, true, 'nobody has it')
    case 'unclear':
      // A host that died is the business of HA; the claim on the VM goes when that has spoken.
      if (isOver(jobs, job)) giveUp(jobs, job, destination)
  }
}

function isOver(jobs: JobsOfLife, { host, target }: Job): boolean {
  const { records } = jobs.coordinator
  return [host, target].some(id => {
    const health = records.hosts.get(id ?? '')?.health
    return health === 'proven_stopped' || health === 'non_responsive'
  })
}

function giveUp(jobs: JobsOfLife, job: Job, destination: Sighting): void {
  const { world } = jobs.coordinator
  const to = world.machine(job.target ?? '')
  if (destination.kind === 'arriving') {
    jobs.ask(job, to, 'cancel', () => {
      world.end(copy => copy.vm === job.vm && copy.host === to.id && copy.state === 'arriving', 'failed')
      return 'cancelled'
    })
    return
  }
  if (destination.kind === 'silent' && !isOver(jobs, job)) return
  jobs.over(job, true, 'it stays on its source')
}

function lookAt(jobs: JobsOfLife, hostId: string, { vm, generation }: Job): Sighting {
  const { world } = jobs.coordinator
  const host = world.machine(hostId)
  const answers = isAwake(world, host) && host.netIn && host.netOut && world.now >= host.recoversUntil
  if (!answers || jobs.coordinator.isCut) return { kind: 'silent' }
  const copy = world.copies.find(
    other => other.vm === vm && other.host === hostId && other.generation === generation
  )
  if (!copy) {
    const ended = host.ended.get(vm)
    return ended ? { kind: 'down', reason: ended.exitReason } : { kind: 'absent' }
  }
  if (copy.state === 'leaving') return { kind: 'leaving' }
  return copy.state === 'arriving' ? { kind: 'arriving' } : { kind: 'runs' }
}
