import { randomUUID } from 'node:crypto'
import { MiB } from '../../common/units.js'
import type { CreateVolume } from '../../storage/create-volume.js'
import { type BenchResult, inTurns, show, timed } from './bench.js'
import { execute, never, storageDomainId, storageWorld } from './storage-world.js'

// Create, snapshot, clone from a template and delete of volumes on a file storage domain, against the bare
// commands that leave the same files, as durable: qemu-img, sanlock for the volume's lease, sync of the
// directory; mv, rm and sync for delete. By hand there is no metadata, no check and no crash safety.

const rounds = 25
const goal = 1.3
const capacity = MiB(10 * 1024)

const volume = (change: Partial<CreateVolume>): CreateVolume => ({
  imageId: randomUUID(),
  volumeId: randomUUID(),
  ...{ parent: null, capacity, format: 'qcow2', allocation: 'thin' },
  ...{ diskContent: 'DATA', description: '', legal: true },
  ...change
})

export async function run(): Promise<BenchResult> {
  const { storage, root, end } = await storageWorld()
  const ask = (request: CreateVolume) => storage.askActive(storageDomainId, 'createVolume', request, never)
  try {
    const bare = bareCommands(`${root}/bare`)
    const bases = Array.from({ length: rounds }, () => volume({}))
    const template = volume({})
    await ask(template)
    await storage.askActive(storageDomainId, 'shareVolume', template, never)

    const create = await inTurns(
      rounds,
      i => timed(() => ask(bases[i] ?? volume({}))),
      i => timed(() => bare.create(i))
    )
    const over = (base: CreateVolume) => volume({ imageId: base.imageId, parent: base })
    const snapshot = await inTurns(
      rounds,
      i => timed(() => ask(over(bases[i] ?? template))),
      i => timed(() => bare.snapshot(i))
    )
    const clones = Array.from({ length: rounds }, () => volume({ parent: template }))
    const clone = await inTurns(
      rounds,
      i => timed(() => ask(clones[i] ?? volume({}))),
      i => timed(() => bare.clone(i))
    )
    const remove = (imageId: string) =>
      storage.askActive(storageDomainId, 'removeImage', { imageId, wipe: false }, never)
    const removed = await inTurns(
      rounds,
      i => timed(() => remove(bases[i]?.imageId ?? '')),
      i => timed(() => bare.remove(i))
    )
    const ratios = {
      create: show('create', create),
      snapshot: show('snapshot', snapshot),
      clone: show('clone from a template', clone),
      delete: show('delete', removed)
    }
    const ratio = Math.max(...Object.values(ratios))
    const reference = 'qemu-img create + sanlock direct init + sync by hand; mv + rm + sync'
    return {
      bench: 'volume-ops',
      ok: ratio <= goal,
      ratio,
      reference,
      goal: `<= ${goal}`,
      kind: 'file',
      ...ratios
    }
  } finally {
    await end()
  }
}

function bareCommands(directory: string) {
  const image = (i: number) => `${directory}/image${i}`
  const finish = async (path: string, name: string) => {
    const resource = `bench:${name}:${path}.lease:0`
    await execute('sanlock', ['direct', 'init', '-r', resource, '-Z', '512', '-A', '1M'])
    await execute('sync', [path, `${path}.lease`, path.slice(0, path.lastIndexOf('/'))])
  }
  const qemuImg = (...args: string[]) =>
    execute('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'compat=1.1', ...args])
  return {
    create: async (i: number) => {
      await execute('mkdir', [image(i)])
      await qemuImg(`${image(i)}/base`, String(capacity))
      await execute('touch', [`${image(i)}/base.lease`])
      await finish(`${image(i)}/base`, 'base')
    },
    snapshot: async (i: number) => {
      await qemuImg('-b', 'base', '-F', 'qcow2', '-u', `${image(i)}/leaf`, String(capacity))
      await execute('touch', [`${image(i)}/leaf.lease`])
      await finish(`${image(i)}/leaf`, 'leaf')
    },
    clone: async (i: number) => {
      await execute('mkdir', [`${image(i)}-clone`])
      await execute('ln', [`${image(0)}/base`, `${image(0)}/base.lease`, `${image(i)}-clone`])
      await qemuImg('-b', 'base', '-F', 'qcow2', '-u', `${image(i)}-clone/leaf`, String(capacity))
      await execute('touch', [`${image(i)}-clone/leaf.lease`])
      await finish(`${image(i)}-clone/leaf`, 'leaf')
    },
    remove: async (i: number) => {
      await execute('mv', [image(i), `${image(i)}-removed`])
      await execute('sync', [directory])
      await execute('rm', ['-r', `${image(i)}-removed`])
      await execute('sync', [directory])
    }
  }
}
