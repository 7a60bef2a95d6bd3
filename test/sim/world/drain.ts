import { firstPace, type Leaving } from '../../../coordinator/jobs/evacuation.js'
import type { HostUpgrade } from '../../../coordinator/jobs/upgrade-plan.js'
import type { JobsOfLife } from './jobs.js'
import { hostRow, isRunning, type Job } from './records.js'

const newVersion = 2
const patience = 600

/** A host into maintenance: its VMs move away, then it leaves the lockspaces. */
export function carryEvacuation(jobs: JobsOfLife, job: Job): void {
  const { world, records } = jobs.coordinator
  const row = hostRow(records, job.host)
  if (job.step === 'choose') {
    if (row.health !== 'up') return jobs.over(job, true, `${job.host} is ${row.health}`)
    row.mode = 'preparing'
    return jobs.next(job, 'empty')
  }
  if (row.health === 'proven_stopped') {
    row.mode = 'active'
    return jobs.over(job, true, 'the host died')
  }
  const vms = leavingOf(jobs, job)
  const stuck = world.rules.stuckOf(vms)
  if (stuck.length > 0 && !vms.some(({ isMoving }) => isMoving)) {
    row.mode = 'active'
    return jobs.over(job, true, `cannot leave: ${stuck.join(', ')}`)
  }
  for (const vmId of world.rules.nextLeaving(vms, firstPace(8))) {
    if (jobs.claims(vmId)) continue
    job.failures[vmId] = (job.failures[vmId] ?? 0) + 1
    jobs.order('migrate', { vm: vmId })
  }
  // What was placed here before, and is not seen yet, comes and leaves again.
  if (vms.length > 0 || records.jobs.some(({ target }) => target === job.host)) return
  const host = world.machine(job.host)
  const answer = jobs.ask(job, host, 'leave', () => {
    world.leaveLockspace(host)
    return 'left'
  })
  if (answer.kind !== 'ok') return
  row.mode = 'maintenance'
  jobs.over(job, false)
}

function leavingOf(jobs: JobsOfLife, { host, failures }: Job): Leaving[] {
  const { world, records } = jobs.coordinator
  return [...records.vms.values()]
    .filter(row => row.hostId === host && isRunning(row))
    .map(({ id }) => ({
      ...{ vmId: id, memoryBytes: 1, priority: world.vm(id).priority ?? 50 },
      isMoving: jobs.claims(id),
      failures: failures[id] ?? 0
    }))
}

/** A cluster is upgraded host by host: drained, upgraded, rebooted, checked, back into service. */
export function carryUpgrade(jobs: JobsOfLife, job: Job): void {
  const { world, records } = jobs.coordinator
  const standings = [...records.hosts.values()].map(({ id, mode, health }) => ({
    ...{ hostId: id, mode },
    isUp: health === 'up'
  }))
  records.upgrade ??= world.rules
    .upgradeOrder(standings)
    .map(hostId => ({ hostId, stage: 'waiting', why: '' }))
  const plan = records.upgrade
  const { begin, isOver } = world.rules.nextUpgrades(
    { hosts: plan, atOnce: world.spec.upgradeAtOnce ?? 1 },
    world.rules.missedHosts(standings)
  )
  for (const hostId of begin) {
    job.failures[`${hostId}/wasActive`] = hostRow(records, hostId).mode === 'active' ? 1 : 0
    if (job.failures[`${hostId}/wasActive`] === 1) jobs.order('evacuate', { host: hostId })
    enter(jobs, plan, hostId, 'draining')
  }
  for (const { hostId, stage } of plan) advance(jobs, job, plan, hostId, stage)
  checkService(jobs)
  if (!isOver || begin.length > 0) return
  const failed = plan.find(({ stage }) => stage === 'failed')
  records.upgrade = null
  jobs.over(job, failed !== undefined, failed ? `${failed.hostId}: ${failed.why}` : '')
}

/** An upgrade never takes more hosts out of service than it may. */
function checkService(jobs: JobsOfLife): void {
  const { world, records } = jobs.coordinator
  const out = (records.upgrade ?? []).filter(({ stage }) => !['waiting', 'done', 'failed'].includes(stage))
  if (out.length > (world.spec.upgradeAtOnce ?? 1))
    world.find('U1', `${out.map(({ hostId }) => hostId).join(' and ')} are out of service for the upgrade`)
}

function enter(
  jobs: JobsOfLife,
  plan: HostUpgrade[],
  hostId: string,
  stage: HostUpgrade['stage'],
  why = ''
): void {
  const entry = plan.find(one => one.hostId === hostId)
  if (!entry) return
  Object.assign(entry, { stage, why })
  jobs.coordinator.world.tell(`${jobs.coordinator.name}: upgrade of ${hostId}: ${stage}${why && ` (${why})`}`)
}

function advance(
  jobs: JobsOfLife,
  job: Job,
  plan: HostUpgrade[],
  hostId: string,
  stage: HostUpgrade['stage']
): void {
  const { world, records } = jobs.coordinator
  const row = hostRow(records, hostId)
  const host = world.machine(hostId)
  const hasJob = records.jobs.some(other => other.host === hostId && other.kind !== 'migrate')
  job.failures[`${hostId}/${stage}`] ??= world.now
  const waited = world.now - (job.failures[`${hostId}/${stage}`] ?? world.now)
  switch (stage) {
    case 'draining':
      if (hasJob && world.rules.drainsFirst) return
      if (row.mode === 'maintenance' || !world.rules.drainsFirst)
        return enter(jobs, plan, hostId, 'upgrading')
      return enter(jobs, plan, hostId, 'failed', 'it could not be emptied')
    case 'upgrading': {
      if (waited >= patience) return enter(jobs, plan, hostId, 'failed', 'no answer')
      const answer = jobs.ask(job, host, `upgrade/${hostId}`, () => {
        if (host.upgradeFails) return 'the package could not be installed'
        host.version = newVersion
        return 'upgraded'
      })
      if (answer.kind !== 'ok') return
      if (answer.word !== 'upgraded') return enter(jobs, plan, hostId, 'failed', answer.word)
      return enter(jobs, plan, hostId, 'rebooting')
    }
    case 'rebooting': {
      if (waited >= patience) return enter(jobs, plan, hostId, 'failed', 'no answer')
      const answer = jobs.ask(job, host, `reboot/${hostId}`, () => {
        for (const { vm } of world.copies.filter(copy => copy.host === hostId))
          world.find('M1', `${vm} runs on ${hostId} when it is rebooted for its upgrade`)
        job.failures[`${hostId}/boot`] = host.boot
        world.powerLoss(host, 'reboot')
        world.powerOn(host)
        return 'reboots'
      })
      if (answer.kind === 'ok' || job.failures[`${hostId}/boot`] !== undefined)
        enter(jobs, plan, hostId, 'checking')
      return
    }
    case 'checking': {
      const isBack = jobs.coordinator.ready.has(hostId) && row.bootId > (job.failures[`${hostId}/boot`] ?? 0)
      if (isBack) {
        const said = jobs.ask(job, host, `check/${hostId}`, () =>
          host.version === newVersion ? 'new' : 'old'
        )
        if (said.kind !== 'ok') return
        const left = said.word === 'new' ? '' : 'drover-agent'
        const leases = { hadHaLeases: true, hasHaLeases: true }
        const problem = world.rules.problemAfter({ left, hasLibvirt: true, ...leases })
        if (problem !== '') return enter(jobs, plan, hostId, 'failed', problem)
        if (job.failures[`${hostId}/wasActive`] !== 1) return enter(jobs, plan, hostId, 'done')
        jobs.order('activate', { host: hostId })
        return enter(jobs, plan, hostId, 'activating')
      }
      if (waited >= patience) enter(jobs, plan, hostId, 'failed', 'it did not come back')
      return
    }
    case 'activating':
      if (hasJob) return
      return enter(
        jobs,
        plan,
        hostId,
        row.mode === 'active' ? 'done' : 'failed',
        row.mode === 'active' ? '' : 'it was not activated'
      )
    default:
  }
}
