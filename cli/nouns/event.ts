import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import type { Event__Output as Event } from '../../proto/generated/types/drover/v1/Event.js'
import type { ListEventsResponse__Output as Page } from '../../proto/generated/types/drover/v1/ListEventsResponse.js'
import { harmless, json, jsonLine } from '../print.js'
import { all } from '../resource.js'
import { withSession } from '../session.js'
import { formatEnum, formatTime, integer } from '../units.js'

const service = coordinatorServices.event
const severities = {
  info: 'SEVERITY_INFO',
  warning: 'SEVERITY_WARNING',
  error: 'SEVERITY_ERROR',
  alert: 'SEVERITY_ALERT'
} as const
type Options = {
  follow?: boolean
  after?: string
  severity?: keyof typeof severities
  filter?: string
  limit?: number
}

export function addEvent(program: Command): void {
  const noun = program.command('event').description('What happened.')
  const list = noun.command('list', { isDefault: true })
  list
    .alias('ls')
    .option('-f, --follow', 'go on with events as they happen')
    .option('--after <SEQUENCE>', 'with --follow: begin after this one (-1: with the oldest kept)')
    .addOption(
      list
        .createOption('--severity <SEVERITY>', 'with --follow: at least so serious')
        .choices(Object.keys(severities))
    )
    .option('--filter <CONDITIONS>', 'conditions joined by AND; fields: severity, kind, vm_id, host_id')
    .option('--limit <N>', 'at most so many (default 100)', integer(1, 1_000_000))
    .description('List events, newest last.')
    .addHelpText('after', '\nExample:\n  drover event --follow --severity warning')
    .action(
      withSession(async (session, options: Options) => {
        const { out } = session
        const asJson = session.options.json === true
        if (!options.follow) {
          const source = { list: service.ListEvents, items: (page: Page) => page.events }
          const events = await all(session, source, options, options.limit ?? 100)
          return out.print(asJson ? json(events) : events.toReversed().map(line).join('\n') || 'no events')
        }
        const minSeverity = options.severity
          ? severities[options.severity]
          : ('SEVERITY_UNSPECIFIED' as const)
        const request = { afterSequence: options.after ?? '0', minSeverity }
        for await (const event of session.stream(service.WatchEvents, request)) {
          out.print(asJson ? jsonLine(event) : line(event))
        }
      })
    )
}

const line = ({ time, severity, kind, text }: Event) =>
  `${formatTime(time)}  ${formatEnum(severity, 'SEVERITY').padEnd(7)}  ${harmless(kind)}  ${harmless(text)}`
