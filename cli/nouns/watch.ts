import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { harmless, jsonLine } from '../print.js'
import { withSession } from '../session.js'
import { formatEnum } from '../units.js'

/** Every change, for scripts (`--json`: one message a line) and for people. */
export function addWatch(program: Command): void {
  program
    .command('watch')
    .argument('[KIND...]', 'vm, host, disk, storageDomain, cluster, template, job (default: all)')
    .description('Follow every change: a snapshot first, then changes.')
    .action(
      withSession(async (session, kinds: string[]) => {
        for await (const message of session.stream(coordinatorServices.watch.Watch, { kinds })) {
          if (session.options.json) session.out.print(jsonLine(message))
          else if (message.key !== '') session.out.print(line(message))
        }
      })
    )
}

type Message = { key: string; kind: string | number; state?: string | undefined } & Record<string, unknown>

function line(message: object): string {
  const { key, kind, state = '', ...rest } = message as Message
  const object = rest[state] as { name?: string; status?: string; state?: string } | undefined
  const status = object?.status ?? object?.state ?? ''
  const shown = status.replace(/^.*?_(?:STATUS|STATE)_/, '').toLowerCase()
  return harmless([formatEnum(kind, 'WATCH_KIND').padEnd(8), key, object?.name ?? '', shown].join('  '))
}
