import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { openConsole, screenshot } from '../../../libvirt/console.js'
import { procedures as p } from '../../../libvirt/procedures.js'
import { until } from '../../libvirt/manual-clock.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(120_000)

const world = await libvirtWorld()
t.teardown(() => world[Symbol.asyncDispose]())
let pools = 0

const size = 24 * 2 ** 20
const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Bytes that are different everywhere. */
const contents = Buffer.alloc(size)
for (let at = 0; at < size; at += 4) contents.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at)

async function worldWithVolume() {
  const w = world
  const name = `pool${pools++}`
  const path = join(w.daemon.root, name)
  await mkdir(path)
  const poolXml = `<pool type='dir'><name>${name}</name><target><path>${path}</path></target></pool>`
  const { pool } = await w.libvirt.call(p.storagePoolDefineXml, { xml: poolXml, flags: 0 }, soon())
  await w.libvirt.call(p.storagePoolCreate, { pool, flags: 0 }, soon())
  const volXml = `<volume><name>v</name><capacity>${size}</capacity></volume>`
  const { vol } = await w.libvirt.call(p.storageVolCreateXml, { pool, xml: volXml, flags: 0 }, soon())
  const range = { vol, offset: 0n, length: BigInt(size), flags: 0 }
  return { ...w, range, file: join(path, 'v') }
}

t.test('what is uploaded is in the file, and what is downloaded is what was uploaded', async t => {
  const w = await worldWithVolume()
  const up = await w.libvirt.stream(p.storageVolUpload, w.range, soon())
  // Pieces larger than a packet, and an odd one at the end.
  const pieces = [
    contents.subarray(0, 2 ** 20),
    contents.subarray(2 ** 20, size - 1),
    contents.subarray(size - 1)
  ]
  await pipeline(Readable.from(pieces), up.stream)
  t.equal(sha(await readFile(w.file)), sha(contents))

  const down = await w.libvirt.stream(p.storageVolDownload, w.range, soon())
  t.equal(sha(await buffer(down.stream)), sha(contents))
})

t.test('a reader who stops holds libvirtd back, and nothing is lost; other calls go on', async t => {
  const w = await worldWithVolume()
  const up = await w.libvirt.stream(p.storageVolUpload, w.range, soon())
  await pipeline(Readable.from([contents]), up.stream)

  const { stream } = await w.libvirt.stream(p.storageVolDownload, w.range, soon())
  await until('the buffer is full', () => stream.readableLength >= stream.readableHighWaterMark)
  for (let calls = 0; calls < 20; calls++) await w.libvirt.call(p.connectGetLibVersion, {}, soon())
  t.ok(stream.readableLength < 4 * 2 ** 20, `${stream.readableLength} bytes wait, not all ${size}`)
  t.equal(sha(await buffer(stream)), sha(contents))
})

t.test('a stream that fails says why, and one that is left is cut', async t => {
  const w = await worldWithVolume()
  const none = { ...w.range, vol: { ...w.range.vol, name: 'none', key: '/none' } }
  const failure = await w.libvirt.stream(p.storageVolDownload, none, soon()).catch((error: unknown) => error)
  t.ok(failure instanceof Fault)

  const { stream } = await w.libvirt.stream(p.storageVolDownload, w.range, soon())
  stream.destroy()
  await until('it is closed', () => stream.closed)

  const lost = (await w.libvirt.stream(p.storageVolDownload, w.range, soon())).stream
  await until('the buffer is full', () => lost.readableLength >= lost.readableHighWaterMark)
  const lists = w.ups.length
  await w.daemon.kill()
  const outcome = await buffer(lost).catch((error: unknown) => error)
  t.ok(Fault.is(outcome, 'LIBVIRT_UNAVAILABLE'), 'a killed libvirtd ends the stream')
  await until('libvirtd is back', () => w.ups.length > lists)
})

t.test('the console of a guest is a stream both ways, and can be taken over', async t => {
  const w = world
  // The firmware's boot menu on the serial port: it writes there, and waits for a key.
  // It begins when somebody listens: QEMU's serial port may stay silent after a reset in the middle of a text.
  const guest = await w.boot({
    paused: true,
    os: `<bios useserial='yes'/><bootmenu enable='yes' timeout='60000'/>`
  })
  const first = await openConsole(guest, {}, soon())
  first.on('error', () => {})
  const busy = await openConsole(guest, {}, soon()).catch((error: unknown) => error)
  t.ok(busy instanceof Fault, 'a second one is refused')
  const second = await openConsole(guest, { force: true }, soon())
  await until('the first is cut', () => first.destroyed || first.readableEnded)

  let said = ''
  second.on('data', chunk => (said += String(chunk)))
  second.on('error', () => {})
  await guest.resume(soon())
  await until('the menu', () => said.includes('boot menu'))
  second.write('\x1b')
  await until('the answer to the key', () => said.includes('Select boot device'))
  second.destroy()
})

t.test('a screenshot is a picture', async t => {
  const w = world
  const devices = `<graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>`
  const guest = await w.boot({ devices })
  const { mime, image } = await screenshot(guest, 0, soon())
  const bytes = await buffer(image)
  t.match(mime, /^image\//)
  t.ok(bytes.length > 1000, `${bytes.length} bytes of ${mime}`)
  const magic = mime === 'image/png' ? '89504e47' : '5036'
  t.ok(bytes.toString('hex').startsWith(magic))
})
