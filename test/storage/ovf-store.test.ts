import { mkdir, readFile, writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { MiB } from '../../common/units.js'
import { fileLayout } from '../../storage/file-layout.js'
import { readTar } from '../../storage/ovf-store.js'
import { ids, never, newStorageDomain, newWorld, run, type World } from './crash/world.js'

// Stores as oVirt leaves them: raw volumes that hold what `tar` made.

const [one, two] = [ids.base, ids.leaf]
const store = { format: 'raw' as const, allocation: 'thin' as const, legal: true, parent: null }

async function tarOf(root: string, files: Record<string, string>): Promise<Buffer> {
  await mkdir(`${root}/tar`, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(`${root}/tar/${name}`, text)
  await run('tar', '-cf', `${root}/store.tar`, '-C', `${root}/tar`, ...Object.keys(files))
  return readFile(`${root}/store.tar`)
}

async function withStore(world: World, imageId: string, volumeId: string, updated: string, content: Buffer) {
  const description = `{"Updated":true,"Last Updated":"${updated}","Disk Description":"OVF_STORE"}`
  const volume = { ...store, imageId, volumeId, capacity: MiB(8), diskContent: 'OVFS', description }
  await world.ask.createVolume(volume, never)
  const path = fileLayout(`${world.mount}/${ids.storageDomain}`).volume(imageId, volumeId)
  await writeFile(`${world.root}/content`, content)
  await run('dd', `if=${world.root}/content`, `of=${path}`, 'conv=notrunc', 'status=none')
}

async function world(t: Test) {
  const made = await newWorld()
  t.teardown(() => made.remove())
  await made.ask.createStorageDomain(newStorageDomain(made), never)
  return made
}

t.test('the newer of two stores counts, and the older where that one is damaged', async t => {
  const { root, ask, ...rest } = await world(t)
  const it = { root, ask, ...rest }
  const older = await tarOf(root, { [`${one}.ovf`]: 'old', 'info.json': '{}' })
  const newer = await tarOf(root, { [`${one}.ovf`]: 'new', [`${two}.ovf`]: 'x'.repeat(70_000), 'a.ovf': '' })
  await withStore(it, ids.image, ids.middle, 'Thu Oct 20 09:55:28 UTC 2022', older)
  t.strictSame(await ask.ovfStores({}, never), [{ id: one, ovf: 'old' }])
  await withStore(it, ids.otherImage, ids.template, 'Fri Oct 21 09:55:28 UTC 2022', newer)
  t.strictSame(await ask.ovfStores({}, never), [
    { id: one, ovf: 'new' },
    { id: two, ovf: 'x'.repeat(70_000) }
  ])
  const path = fileLayout(`${it.mount}/${ids.storageDomain}`).volume(ids.otherImage, ids.template)
  await run('dd', 'if=/dev/urandom', `of=${path}`, 'bs=512', 'count=4', 'conv=notrunc', 'status=none')
  t.strictSame(await ask.ovfStores({}, never), [{ id: one, ovf: 'old' }])
})

t.test('a storage domain without stores has no definitions', async t => {
  t.strictSame(await (await world(t)).ask.ovfStores({}, never), [])
})

const reader = (bytes: Buffer) => ({
  size: BigInt(bytes.length),
  read: async (offset: bigint, length: number) => bytes.subarray(Number(offset), Number(offset) + length)
})

t.test('a tar file that lies is refused', async t => {
  const { root } = await world(t)
  const sound = await tarOf(root, { [`${one}.ovf`]: 'text' })
  const rewritten = (change: (header: Buffer) => void) => {
    const copy = Buffer.from(sound)
    change(copy)
    copy.write('        ', 148, 'latin1')
    const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0)
    copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    return copy
  }
  t.strictSame(await readTar(reader(sound), never), [{ id: one, ovf: 'text' }])
  const huge = rewritten(header => header.write('77777777777\0', 124, 'latin1'))
  await t.rejects(readTar(reader(huge), never), /beyond its end/)
  const binary = rewritten(header => header.fill(0xff, 124, 136))
  await t.rejects(readTar(reader(binary), never), /no size/)
  const flipped = Buffer.from(sound)
  flipped[3] = 0x41
  await t.rejects(readTar(reader(flipped), never), /checksum/)
  const link = rewritten(header => header.write('2', 156, 'latin1'))
  t.strictSame(await readTar(reader(link), never), [], 'a link is passed over')
  t.strictSame(await readTar(reader(Buffer.alloc(4096)), never), [])
})
