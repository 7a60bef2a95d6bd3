import type { Command } from 'commander'
import { coordinatorServices as services } from '../../proto/load.js'
import type { ListEventsResponse__Output as EventPage } from '../../proto/generated/types/drover/v1/ListEventsResponse.js'
import { json } from '../print.js'
import { all } from '../resource.js'
import { hosts, vms } from '../resources.js'
import { reportOf } from '../restore-report.js'
import { withSession, type Session } from '../session.js'
import { formatEnum } from '../units.js'

const events = { list: services.event.ListEvents, items: (page: EventPage) => page.events }
const wall = (time: { seconds: string | number } | null) => Number(time?.seconds ?? 0) * 1000
const mostEvents = 500

/** `drover restore-report`: nothing is changed by it. */
export function addRestoreReport(program: Command): void {
  program
    .command('restore-report')
    .description('What differs from the store after it was restored from a backup, and what to do about it.')
    .action(withSession(report))
}

async function report(session: Session): Promise<void> {
  const [restore] = await all(session, events, { filter: 'kind = "coordinator.restored"' }, 1)
  const [coordinator, everyHost, everyVm, audit, latest] = await Promise.all([
    session.call(services.coordinator.GetCoordinator, {}),
    all(session, hosts, {}, 10_000),
    all(session, vms, {}, 100_000),
    session.call(services.event.RunAudit, { storageDomainId: '' }),
    all(session, events, {}, mostEvents)
  ])
  const names = new Map(everyHost.map(({ hostId, name }) => [hostId, name]))
  const restored = restore ? wall(restore.time) : null
  const sections = reportOf({
    restored,
    awaited: coordinator.awaitedHostIds.map(id => names.get(id) ?? id),
    hosts: everyHost.map(({ name, status, problem }) => ({
      name,
      problem,
      status: word(status, 'HOST_STATUS')
    })),
    vms: everyVm.map(({ name, status, external, hostId }) => {
      return { name, external, status: word(status, 'VM_STATUS'), host: names.get(hostId) ?? hostId }
    }),
    findings: audit.findings,
    events: latest.map(({ time, kind, text }) => ({ time: wall(time), kind, text })).toReversed()
  })
  if (session.options.json) return session.out.print(json({ restored, scope: audit.scope, sections }))
  const since = restored === null ? 'no restore is known' : `restored ${new Date(restored).toISOString()}`
  session.out.print(`${since}; looked at ${audit.scope}`)
  for (const { title, todo, lines } of sections)
    session.out.print(
      `\n${title} (${lines.length})\n  → ${todo}\n${lines.map(line => `  ${line}`).join('\n')}`
    )
  if (sections.length === 0) session.out.print('nothing differs')
}

const word = (value: string, prefix: string) =>
  formatEnum(value, prefix).toUpperCase().replaceAll(/[ -]/g, '_')
