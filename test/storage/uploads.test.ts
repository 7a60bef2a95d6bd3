import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bytes, MiB } from '../../common/units.js'
import { sandboxedMeasure } from '../../storage/sandbox.js'
import {
  beginUpload,
  finishUpload,
  removeUpload,
  sweepUploads,
  uploadsOnHost
} from '../../storage/uploads.js'
import { feedProgram } from './crash/world.js'

const root = await mkdtemp(join(tmpdir(), 'drover-uploads-'))
t.teardown(() => rm(root, { recursive: true, force: true }))
const place = uploadsOnHost(root, 'sd')
const names = () => readdir(place.directory)

t.test('an upload has its name once it is whole', async t => {
  const content = Buffer.alloc(MiB(2) + 5, 7)
  const size = bytes(content.length)
  await feedProgram(await beginUpload(place, 'a', size, null), content)
  t.strictSame(await names(), ['upload-a.part'])
  await finishUpload(place, 'a', size)
  t.strictSame(await names(), ['upload-a'])
  t.ok((await readFile(`${place.directory}/upload-a`)).equals(content))
  await removeUpload(place, 'a')
  t.strictSame(await names(), [])
})

t.test('one that brings less than was announced leaves nothing', async t => {
  await feedProgram(await beginUpload(place, 'a', bytes(100), null), Buffer.alloc(50))
  await t.rejects(finishUpload(place, 'a', bytes(100)), /50 bytes of 100/)
  t.strictSame(await names(), [])
})

t.test('one for which there is no room is refused before a byte comes', async t => {
  await t.rejects(beginUpload(place, 'a', bytes(2 ** 52), null), { reason: 'NO_SPACE' } as never)
  t.strictSame(await names(), [])
})

t.test('a sweep takes what was cut short, and what waits only where nobody will come for it', async t => {
  await beginUpload(place, 'cut', bytes(10), null)
  await feedProgram(await beginUpload(place, 'whole', bytes(1), null), Buffer.alloc(1))
  await finishUpload(place, 'whole', bytes(1))
  t.strictSame(await sweepUploads(place, Date.now(), false), ['upload-cut.part'])
  t.strictSame(await names(), ['upload-whole'])
  const tomorrow = Date.now() + 90_000_000
  t.strictSame(await sweepUploads(place, tomorrow, false), ['upload-whole'])
})

t.test('an untrusted image is measured alone, by its own name for itself', async t => {
  const words = sandboxedMeasure('/srv/x', 'vmdk', true)
  t.match(
    words.join(' '),
    /--unshare-net .*--ro-bind \/srv\/x \/img .*measure --output=json -O qcow2 -f vmdk \/img$/
  )
  t.notOk(sandboxedMeasure('/srv/x', 'iso', true).includes('iso'))
})
