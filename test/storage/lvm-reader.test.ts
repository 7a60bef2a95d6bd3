import { execFile } from 'node:child_process'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { readPvLabel } from '../../storage/format/lvm-label.js'
import { groupOn, LvmReader } from '../../storage/lvm-reader.js'
import { root as checkout } from '../root.js'

// LVM's metadata of a storage domain that oVirt made, read from the images of its physical volumes.

const execute = promisify(execFile)
const data = `${checkout}/test/vectors/data/domains/`
const { domain } = JSON.parse(await readFile(`${data}block-domain.json`, 'utf8')) as { domain: string }
const root = await mkdtemp(`${tmpdir()}/drover-lvm-reader-`)
t.teardown(() => rm(root, { recursive: true, force: true }))
await execute('tar', ['-xzSf', `${data}block-domain-pvs.tar.gz`, '-C', root])
const devices = [`${root}/pv0.img`, `${root}/pv1.img`]

/** Turns a few bits over, and returns how to undo it. */
async function damage(path: string, at: number): Promise<() => Promise<void>> {
  const file = await open(path, 'r+')
  const before = Buffer.alloc(16)
  await file.read(before, 0, 16, at)
  await file.write(
    before.map(byte => byte ^ 0x55),
    0,
    16,
    at
  )
  await file.close()
  return async () => {
    const again = await open(path, 'r+')
    await again.write(before, 0, 16, at)
    await again.close()
  }
}

async function areaOffsets(path: string): Promise<number[]> {
  const file = await open(path)
  const start = Buffer.alloc(4096)
  await file.read(start, 0, 4096, 0)
  await file.close()
  return readPvLabel(start).areas.map(({ offset }) => Number(offset))
}

t.test('a VG is read from its devices, and said again while nothing has changed', async t => {
  const reader = new LvmReader(domain, devices)
  const reading = await reader.read()
  t.equal(reading?.group.name, domain)
  t.strictSame(reading?.metadataDevices, [devices[0]], 'one PV holds metadata')
  t.strictSame(reading?.missing, [])
  t.equal(await reader.read(), reading)
  t.equal((await groupOn(devices[0] ?? ''))?.vg, domain)
  t.equal((await groupOn(devices[1] ?? ''))?.vg, null, 'the other PV says of no VG')
})

t.test('a physical volume that is not there is named', async t => {
  const reading = await new LvmReader(domain, devices.slice(0, 1)).read()
  t.equal(reading?.missing.length, 1)
  t.equal(
    await new LvmReader(domain, devices.slice(1)).read(),
    null,
    'nor is there a VG without its metadata'
  )
})

t.test('a damaged copy of the metadata leaves the other one', async t => {
  const [first = 0, second = 0] = await areaOffsets(devices[0] ?? '')
  const undo = await damage(devices[0] ?? '', first + 40)
  t.teardown(undo)
  const reading = await new LvmReader(domain, devices).read()
  t.equal(reading?.damaged, 1)
  t.ok((reading?.group.volumes.length ?? 0) > 10)
  const undoToo = await damage(devices[0] ?? '', second + 40)
  t.teardown(undoToo)
  const error: unknown = await new LvmReader(domain, devices).read().catch((e: unknown) => e)
  t.ok(Fault.is(error, 'CORRUPT'))
})

t.test('a copy of a LUN beside its original is refused', async t => {
  const copy = `${root}/copy.img`
  await execute('cp', ['--sparse=always', devices[1] ?? '', copy])
  const error: unknown = await new LvmReader(domain, [...devices, copy]).read().catch((e: unknown) => e)
  t.ok(Fault.is(error, 'WRONG_STATE'))
  t.match(error, { message: /same id; one is a copy/ })
})

t.test('a change of the devices while they are read spoils no later answer', async t => {
  const reader = new LvmReader(domain, devices)
  const during = reader.read()
  reader.forget(devices)
  const reads = await Promise.all([during, reader.read(), reader.read()])
  for (const reading of [...reads, await reader.read()]) t.strictSame(reading?.missing, [])
})
