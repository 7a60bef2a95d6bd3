import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { pino } from 'pino'
import t from 'tap'
import { migrations } from '../../../coordinator/store/migrations.js'
import { sql } from '../../../coordinator/store/query.js'
import { Store } from '../../../coordinator/store/store.js'
import { root } from '../../root.js'

t.setTimeout(300_000)

const source = join(root, 'test/host/coordinator/open-store.ts')
// The statements of a migration are one transaction: beyond its beginning, middle and end they differ in nothing.
const points = migrations.flatMap((statements, index) => {
  const last = statements.length - 1
  const places = new Set([0, Math.floor(last / 2), last])
  return [...places, 'version', 'commit'].map(at => `store.migrate.${index + 1}.${at}`)
})

t.test('killed at any place of a migration, the next start finishes it and the file is whole', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-migrate-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  // One file that starts quickly: it is started once for each place.
  const program = join(root, 'build/test-open-store.mjs')
  t.teardown(() => rmSync(program, { force: true }))
  await build({
    ...{ entryPoints: [source], outfile: program, bundle: true, format: 'esm', platform: 'node' },
    packages: 'external',
    logLevel: 'error'
  })
  for (const [index, point] of points.entries()) {
    const path = join(folder, `${index}.db`)
    const env = { ...process.env, NODE_ENV: 'test', DROVER_CRASHPOINTS: `kill@${point}` }
    const child = spawn(process.execPath, [program, path], { env, stdio: 'ignore' })
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
    t.equal(signal, 'SIGKILL', `killed at ${point}`)
    const store = await Store.open(path, pino({ level: 'silent' }))
    t.strictSame(store.integrity(), [], point)
    t.strictSame(store.read.all(sql.selectFrom('vm').select('id')), [])
    store.close()
    rmSync(path, { force: true })
  }
})
