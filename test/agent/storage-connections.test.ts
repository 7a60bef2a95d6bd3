import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { BlockStorage } from '../../storage/connections/block-storage.js'
import { StorageConnections } from '../../agent/storage-connections.js'
import { systemClock } from '../../common/clock.js'
import type { Run } from '../../common/run.js'

const never = new AbortController().signal
const nfs = { kind: 'nfs' as const, export: 'nas1:/vm', version: '4.2' as const, timeo: 100, retrans: 3 }

const log = pino({ level: 'silent' })

async function world(t: Test) {
  const root = await mkdtemp('/tmp/drover-connections-')
  t.teardown(() => rm(root, { recursive: true, force: true }))
  const calls: string[] = []
  const run: Run = async (command, args) => {
    calls.push([command, ...args].join(' '))
    return { code: 0, stdout: '', stderr: '' }
  }
  const open = () =>
    new StorageConnections({
      file: `${root}/attached.json`,
      mountDirectory: `${root}/mnt`,
      allowedDirectories: ['/srv'],
      block: new BlockStorage({ run, clock: systemClock, log }),
      run,
      log
    })
  return { root, calls, open }
}

t.test('what is attached is known again after a restart', async t => {
  const { open } = await world(t)
  const attached = { connection: nfs, sanlockHostId: 3 }
  await open().remember('a', attached)
  const again = open()
  await again.load()
  t.same([...again.attached], [['a', attached]])
  await again.remember('a', null)
  const empty = open()
  await empty.load()
  t.equal(empty.attached.size, 0)
})

t.test('a damaged list is set aside, and does not keep the agent from starting', async t => {
  const { root, open } = await world(t)
  await writeFile(`${root}/attached.json`, '{"a": {"connection": {"kind": "nfs"')
  const connections = open()
  await connections.load()
  t.equal(connections.attached.size, 0)
  t.same(await readdir(root), ['attached.json.damaged'])
  t.match(await readFile(`${root}/attached.json.damaged`, 'utf8'), /nfs/)
})

t.test('an export is mounted below our directory, by fixed arguments', async t => {
  const { root, calls, open } = await world(t)
  const { mount: target } = await open().connect(nfs, never)
  t.ok(target.startsWith(`${root}/mnt/`), target)
  const options = 'nosuid,nodev,noexec,soft,nosharecache,timeo=100,retrans=3,nfsvers=4.2'
  t.same(calls, [`mount -t nfs -o ${options} -- nas1:/vm ${target}`])
})

t.test('a directory outside the allowed ones is refused by the name of its field', async t => {
  const { calls, open } = await world(t)
  for (const path of ['/etc', '/srvx/a', '/']) {
    await t.rejects(
      open().connect({ kind: 'posix', path }, never),
      /connection.posix.path must be below one of \/srv/
    )
  }
  await t.rejects(open().connect({ ...nfs, export: 'nas1:/a,exec' }, never), /connection.nfs.export/)
  t.same(calls, [])
})
