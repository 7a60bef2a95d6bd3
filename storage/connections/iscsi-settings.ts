import type { Secret } from '../../common/secret.js'
import type { Seconds } from '../../common/units.js'

// What iscsid is told about a session, as lines `key = value` of its record file. Secrets go this way and no other:
// the file is for root alone, and an argument of a program is for everybody.

export type Chap = {
  user: string
  secret: Secret
  /** The target's proof that it is the right one; null asks for none. */
  mutual: { user: string; secret: Secret } | null
}

export type SessionSettings = { chap: Chap | null; ioTimeout: Seconds; multipath: boolean }

/**
 * How long the kernel keeps I/O of a session that is lost. Two rules: with several paths the others must get it soon;
 * with one, nothing may reach the disk later than sanlock gives the host up (8 times its I/O timeout, less what it
 * takes to notice), and an outage as long as that should pass unnoticed by guests.
 */
export function replacementTimeout({ ioTimeout, multipath }: Omit<SessionSettings, 'chap'>): number {
  const noticed = noop.interval + noop.timeout
  return multipath ? 5 : Math.max(5, 8 * ioTimeout - noticed - 10)
}

const noop = { interval: 5, timeout: 5 }

export function sessionSettings(settings: SessionSettings): Map<string, string> {
  const { chap } = settings
  return new Map([
    // The agent logs in again after a boot, when it knows what it needs.
    ['node.startup', 'manual'],
    ['node.leading_login', 'No'],
    ['node.session.timeo.replacement_timeout', String(replacementTimeout(settings))],
    ['node.conn[0].timeo.noop_out_interval', String(noop.interval)],
    ['node.conn[0].timeo.noop_out_timeout', String(noop.timeout)],
    // A dead portal costs 30 s and not the 120 s of the defaults.
    ['node.conn[0].timeo.login_timeout', '10'],
    ['node.session.initial_login_retry_max', '3'],
    ['node.session.err_timeo.abort_timeout', '15'],
    ['node.session.err_timeo.lu_reset_timeout', '30'],
    ...chapSettings('node.session.auth', chap)
  ])
}

export const discoverySettings = (chap: Chap | null) =>
  new Map(chapSettings('discovery.sendtargets.auth', chap))

function chapSettings(prefix: string, chap: Chap | null): Array<[string, string]> {
  if (chap === null) return [[`${prefix}.authmethod`, 'None']]
  const { user, secret, mutual } = chap
  return [
    [`${prefix}.authmethod`, 'CHAP'],
    [`${prefix}.username`, user],
    [`${prefix}.password`, secret.reveal()],
    ...(mutual === null
      ? []
      : ([
          [`${prefix}.username_in`, mutual.user],
          [`${prefix}.password_in`, mutual.secret.reveal()]
        ] satisfies Array<[string, string]>))
  ]
}

/** A record file with some settings changed; those that it lacks are added before its end. */
export function editRecord(record: string, settings: ReadonlyMap<string, string>): string {
  const left = new Map(settings)
  const lines = record.split('\n').map(line => {
    const key = /^([\w.[\]]+)\s*=/.exec(line)?.[1] ?? ''
    const value = settings.get(key)
    left.delete(key)
    return value === undefined ? line : `${key} = ${value}`
  })
  const end = lines.findIndex(line => line.startsWith('# END RECORD'))
  const added = [...left].map(([key, value]) => `${key} = ${value}`)
  lines.splice(end === -1 ? lines.length : end, 0, ...added)
  return lines.join('\n')
}

/** Whether a record asks for a proof of identity: then it was made with secrets that only it knows. */
export const recordHasChap = (record: string) =>
  /^node\.session\.auth\.authmethod\s*=\s*CHAP\s*$/m.test(record)
