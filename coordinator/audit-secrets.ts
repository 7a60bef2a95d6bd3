import { sql as raw } from 'kysely'
import { found, type Finding } from './finding.js'
import { sql, type Reader } from './store/query.js'
import type { Secrets } from './store/secrets.js'

// I17: what is sealed in the store stands nowhere else in it in the open.

/** Shorter ones are words that occur by chance. */
const shortest = 6
/** Rows of a table that are looked through, newest first: more would keep everybody else waiting. */
const mostRows = 5000

/** Where people and programs read, and what is newest there. */
const places = [
  { table: 'event', by: 'sequence', columns: ['text', 'objectsJson'] },
  { table: 'audit', by: 'sequence', columns: ['object', 'requestId'] },
  { table: 'job', by: 'created', columns: ['contextJson', 'objectsJson', 'resultJson', 'turnedBackJson'] },
  { table: 'jobStep', by: 'started', columns: ['faultJson', 'progressJson'] },
  { table: 'request', by: 'created', columns: ['answerJson'] },
  { table: 'host', by: 'created', columns: ['powerJson', 'problem', 'missing'] },
  { table: 'hostDecision', by: 'id', columns: ['inputsJson', 'missing'] },
  { table: 'storageDomain', by: 'created', columns: ['connectionJson', 'problem'] },
  { table: 'vm', by: 'created', columns: ['failureJson', 'description'] }
]
type Place = (typeof places)[number]

/** `pause` lets others have their turn. */
export async function secretFindings(
  reader: Reader,
  secrets: Secrets,
  pause: () => Promise<void>
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { owner, name } of reader.all(sql.selectFrom('secret').select(['owner', 'name']))) {
    const secret = secrets.get(reader, owner, name)?.reveal() ?? ''
    if (secret.length < shortest) continue
    for (const place of places) {
      const open = place.columns.filter(column => occurs(reader, place, column, secret))
      if (open.length > 0) {
        const text = `stands in the open in ${open.join(' and ')} of a ${place.table}`
        findings.push(found('I17', `secret ${name} of ${owner}`, text))
      }
    }
    await pause()
  }
  return findings
}

function occurs(reader: Reader, { table, by }: Place, column: string, secret: string): boolean {
  // Within JSON it is written with its quotes and backslashes escaped.
  const [plain, escaped] = [secret, JSON.stringify(secret).slice(1, -1)]
  const { ref } = raw
  const newest = raw`SELECT ${ref(column)} AS text FROM ${raw.table(table)} ORDER BY ${ref(by)} DESC LIMIT ${mostRows}`
  const query = raw`SELECT 1 FROM (${newest}) WHERE instr(text, ${plain}) OR instr(text, ${escaped}) LIMIT 1`
  return reader.first({ compile: () => query.compile(sql) }) !== null
}
