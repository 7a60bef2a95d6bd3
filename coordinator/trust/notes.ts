import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { z } from 'zod'
import { writeDurably } from '../../common/durable-file.js'
import type { Clock } from '../../common/clock.js'
import { adoptEpoch } from '../leadership.js'
import { addEvent } from '../store/events.js'
import { sql, type Tx } from '../store/query.js'
import type { Store } from '../store/store.js'

// `drover-coordinator issue-admin`, `revoke` and `adopt-epoch` work while the daemon has the store open, so
// they leave notes in a folder; the daemon takes them into the store within seconds.

const note = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('issued'),
    serial: z.string(),
    role: z.enum(['ADMIN', 'VIEWER']),
    name: z.string(),
    issued: z.number(),
    notAfter: z.number()
  }),
  z.object({ kind: z.literal('revoked'), serial: z.string() }),
  z.object({ kind: z.literal('adoptEpoch'), epoch: z.number().int().positive() })
])
export type TrustNote = z.infer<typeof note>

export async function leaveNote(folder: string, content: TrustNote, clock: Clock): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeDurably(`${folder}/${clock.wall()}-${clock.newId()}.json`, JSON.stringify(content))
}

export type TakenNotes = { isRevoked: boolean; adoptedEpoch: number | null }

/** Takes all notes into the store; what they mean for the running daemon. */
export async function takeNotes(folder: string, store: Store, clock: Clock): Promise<TakenNotes> {
  const taken: TakenNotes = { isRevoked: false, adoptedEpoch: null }
  for (const name of await names(folder)) {
    const path = `${folder}/${name}`
    const content = note.parse(JSON.parse(await readFile(path, 'utf8')))
    const now = clock.wall()
    if (content.kind === 'issued') store.transaction(tx => recordIssued(tx, content, now))
    if (content.kind === 'revoked') store.transaction(tx => recordRevoked(tx, content.serial, now))
    if (content.kind === 'adoptEpoch') taken.adoptedEpoch = adoptEpoch(store, content.epoch, 'local', now)
    taken.isRevoked ||= content.kind === 'revoked'
    await rm(path)
  }
  return taken
}

function recordIssued(tx: Tx, { kind: _, ...row }: TrustNote & { kind: 'issued' }, now: number): void {
  tx.run(
    sql
      .insertInto('certificate')
      .values({ ...row, revoked: null })
      .onConflict(conflict => conflict.doNothing())
  )
  const text = `a certificate for ${row.role.toLowerCase()} ${row.name} was issued on the coordinator's machine`
  addEvent(tx, { severity: 'warning', kind: 'certificate.issued', text, actor: 'local' }, now)
}

function recordRevoked(tx: Tx, serial: string, now: number): void {
  const known = tx.run(sql.updateTable('certificate').set({ revoked: now }).where('serial', '=', serial))
  // One that nobody wrote down is refused for as long as any certificate may live.
  if (known === 0) {
    const notAfter = now + 366 * 86_400_000
    tx.run(
      sql
        .insertInto('certificate')
        .values({ serial, role: '', name: '', notAfter, revoked: now, issued: now })
    )
  }
  const text = `certificate ${serial} was revoked on the coordinator's machine`
  addEvent(tx, { severity: 'warning', kind: 'certificate.revoked', text, actor: 'local' }, now)
}

async function names(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter(name => name.endsWith('.json')).toSorted()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
