import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { pino } from 'pino'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { systemClock } from '../../../common/clock.js'
import { addAuditRecord, cutAuditTrail, verifyAuditTrail } from '../../../coordinator/store/audit-records.js'
import { claim, throwIfClaimed, type ClaimMode } from '../../../coordinator/store/claims.js'
import { addEvent } from '../../../coordinator/store/events.js'
import { endJob, insertJob, jobSteps } from '../../../coordinator/store/jobs.js'
import { StoreJournal } from '../../../coordinator/store/journal.js'
import { sql } from '../../../coordinator/store/query.js'
import { once } from '../../../coordinator/store/requests.js'
import { Secrets } from '../../../coordinator/store/secrets.js'
import { Secret } from '../../../common/secret.js'
import { Store } from '../../../coordinator/store/store.js'

type Test = { teardown(fn: () => unknown): void }
const log = pino({ level: 'silent' })

function thrown(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}

async function openStore(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-store-'))
  const path = join(folder, 'store.db')
  const store = await Store.open(path, log)
  t.teardown(() => {
    store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return { store, path, folder }
}

const newJob = (id: string) => ({
  ...{
    id,
    kind: 'test',
    kindVersion: 1,
    objects: { vm: 'v' },
    context: { a: 1 },
    claims: [],
    actor: 'local'
  },
  ...{ requestId: '', epoch: 1, created: 1, steps: [{ name: 'one' }, { name: 'two' }] }
})

t.test('a second coordinator on the same file is refused, and the first goes on', async t => {
  const { store, path } = await openStore(t)
  await t.rejects(Store.open(path, log), new Fault('WRONG_STATE', 'another coordinator uses this store'))
  store.transaction(tx => addEvent(tx, { severity: 'info', kind: 'a', text: 'b' }, 1))
})

t.test('a transaction is all or nothing, and tells what it changed afterwards', async t => {
  const { store } = await openStore(t)
  const told: unknown[] = []
  store.listen(changes => told.push(...changes))
  t.throws(() =>
    store.transaction(tx => {
      insertJob(tx, newJob('j0'))
      throw new Error('no')
    })
  )
  store.transaction(tx => insertJob(tx, newJob('j1')))
  t.strictSame(told, [{ kind: 'job', id: 'j1' }])
  t.throws(() => store.transaction(() => store.transaction(() => 1)), TypeError, 'they are not nested')
})

t.test('a store of a newer version is refused', async t => {
  const { store, path } = await openStore(t)
  store.close()
  const db = new Database(path)
  db.pragma('user_version = 999')
  db.close()
  await t.rejects(Store.open(path, log), { message: /of version 999/ })
})

t.test('after an unclean end the file is checked; one that is damaged is refused', async t => {
  const { store, path } = await openStore(t)
  store.transaction(tx => {
    for (let n = 0; n < 2000; n++) addEvent(tx, { severity: 'info', kind: 'a', text: 'x'.repeat(200) }, n)
  })
  store.close()
  const { open } = await import('node:fs/promises')
  const db = new Database(path)
  db.exec("UPDATE setting SET value = '0' WHERE name = 'isClean'")
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
  const again = await Store.open(path, log)
  again.close()
  const unclean = new Database(path)
  unclean.exec("UPDATE setting SET value = '0' WHERE name = 'isClean'")
  unclean.close()
  const file = await open(path, 'r+')
  await file.write(Buffer.alloc(4096 * 8, 0xaa), 0, 4096 * 8, 4096 * 40)
  await file.close()
  await t.rejects(Store.open(path, log), { reason: 'CORRUPT' } as unknown as Error)
})

t.test('the same request has one effect and one answer; another with its id is refused', async t => {
  const { store } = await openStore(t)
  let effects = 0
  const ask = (content: object, actor = 'local') =>
    store.transaction(tx =>
      once(tx, { id: 'r', method: 'M', actor, content }, 1, () => ({ number: ++effects }))
    )
  t.strictSame(ask({ a: 1, b: 2 }), { number: 1 })
  t.strictSame(ask({ b: 2, a: 1 }), { number: 1 })
  t.equal(effects, 1)
  t.match(
    thrown(() => ask({ a: 2 })),
    { reason: 'REQUEST_ID_REUSED' }
  )
  t.match(
    thrown(() => ask({ a: 1, b: 2 }, 'admin/x')),
    { reason: 'REQUEST_ID_REUSED' }
  )
})

t.test('which claims get along with each other is a table', async t => {
  const modes: ClaimMode[] = ['read', 'copy', 'backup', 'change', 'remove']
  const fit: Record<ClaimMode, ClaimMode[]> = {
    read: ['read', 'copy', 'backup'],
    copy: ['read', 'copy', 'backup'],
    backup: ['read', 'copy'],
    change: [],
    remove: []
  }
  const { store } = await openStore(t)
  for (const held of modes) {
    const id = `held-${held}`
    store.transaction(tx => {
      insertJob(tx, { ...newJob(id), claims: [{ type: 'vm', id, mode: held }] })
    })
    for (const mode of modes) {
      const ask = () => throwIfClaimed(store.read, { type: 'vm', id, mode })
      if (fit[mode].includes(held)) t.doesNotThrow(ask)
      else t.match(thrown(ask), { reason: 'BUSY', facts: { job: id } }, `${mode} while ${held}`)
    }
    store.transaction(tx => endJob(tx, id, 'succeeded', 2))
    t.doesNotThrow(() => throwIfClaimed(store.read, { type: 'vm', id, mode: 'remove' }))
  }
  t.throws(() =>
    store.transaction(tx => {
      claim(tx, 'no such job', [{ type: 'vm', id: 'x', mode: 'read' }])
    })
  )
})

t.test('a journal is what the next life of the coordinator goes on from', async t => {
  const { store } = await openStore(t)
  store.transaction(tx => insertJob(tx, newJob('j')))
  const journal = new StoreJournal<{ a: number; b?: number }>(store, 'j', systemClock)
  journal.begin('one', 1, 'host')
  t.ok(journal.isOpen('one'))
  journal.failed('one', new Fault('BUSY', 'not now'), true)
  t.not(journal.isOpen('one'), true)
  journal.begin('one', 2, null)
  journal.progress('one', { percent: 50, doneBytes: 5, totalBytes: 10, phase: 'x' })
  journal.done('one', () => ({ b: 2 }))
  journal.turnBack(new Fault('NO_SPACE', 'full'))
  journal.turnBack(new Fault('BUSY', 'the first reason stays'))
  journal.undoFailed('one', new Fault('BUSY', 'x'), true)

  const later = new StoreJournal<{ a: number; b?: number }>(store, 'j', systemClock)
  t.strictSame(later.context(), { a: 1, b: 2 })
  t.equal(later.state('one'), 'done')
  t.equal(later.state('two'), undefined)
  t.equal(later.attempt('one'), 2)
  t.equal(later.undoAttempt('one'), 2)
  t.match(later.turnedBack(), { reason: 'NO_SPACE', message: 'full' })
  t.match(jobSteps(store.read, 'j')[0], { progress: { percent: 50, doneBytes: 5 } })
})

t.test('audit records cannot be changed or deleted, and a forged chain is found', async t => {
  const { store, path } = await openStore(t)
  const facts = {
    actor: 'local',
    role: 'x',
    serial: '',
    address: 'unix',
    method: 'm',
    action: 'a',
    object: ''
  }
  store.transaction(tx => {
    for (let time = 1; time <= 30; time++) {
      addAuditRecord(tx, { ...facts, time, digest: '', requestId: `${time}`, outcome: 'OK' })
    }
  })
  const verify = () => verifyAuditTrail(store.read, async () => {})
  t.strictSame(await verify(), { records: 30, firstBad: 0 })
  const change = sql.updateTable('audit').set({ actor: 'someone else' }).where('sequence', '=', 7)
  t.throws(() => store.transaction(tx => tx.run(change)), /never changed/)
  t.throws(() => store.transaction(tx => tx.run(sql.deleteFrom('audit'))), /only up to an anchor/)

  store.transaction(tx => cutAuditTrail(tx, 11, 99))
  t.strictSame(await verify(), { records: 20, firstBad: 0 }, 'the rest holds behind its anchor')
  t.throws(() => store.transaction(tx => tx.run(sql.deleteFrom('auditAnchor'))), /never deleted/)
  store.close()
  const db = new Database(path)
  db.exec("DROP TRIGGER auditIsNeverChanged; UPDATE audit SET outcome = 'OK!' WHERE sequence = 20")
  db.close()
  const again = await Store.open(path, log)
  t.teardown(() => again.close())
  t.strictSame(await verifyAuditTrail(again.read, async () => {}), { records: 10, firstBad: 20 })
})

t.test('secrets are not in the file, and gone without their key', async t => {
  const { store, path } = await openStore(t)
  const secrets = new Secrets(Buffer.alloc(32, 1))
  store.transaction(tx => secrets.put(tx, 'host/1/0', 'password', new Secret('CANARY-xyz')))
  t.equal(secrets.get(store.read, 'host/1/0', 'password')?.reveal(), 'CANARY-xyz')
  t.equal(new Secrets(Buffer.alloc(32, 2)).get(store.read, 'host/1/0', 'password'), null)
  store.close()
  const { readFile } = await import('node:fs/promises')
  t.not((await readFile(path)).includes('CANARY'), true)
})

t.test('a backup is a whole store, taken while it is in use', async t => {
  const { store, folder } = await openStore(t)
  store.transaction(tx => addEvent(tx, { severity: 'info', kind: 'before', text: '' }, 1))
  await store.backup(join(folder, 'copy.db'))
  store.transaction(tx => addEvent(tx, { severity: 'info', kind: 'after', text: '' }, 2))
  const copy = await Store.open(join(folder, 'copy.db'), log)
  t.teardown(() => copy.close())
  t.strictSame(copy.read.all(sql.selectFrom('event').select('kind')), [{ kind: 'before' }])
  t.strictSame(copy.integrity(), [])
})
