import t, { type Test } from 'tap'
import { pino } from 'pino'
import { systemClock } from '../../common/clock.js'
import { commandRunner } from '../../common/run.js'
import { MiB } from '../../common/units.js'
import type { CreateVolume } from '../../storage/create-volume.js'
import { writeDirect } from '../../storage/direct-io.js'
import type { Diagnosis, RepairKind } from '../../storage/doctor/diagnosis.js'
import type { VolumeMetadata } from '../../storage/format/volume-metadata.js'
import { Sanlock } from '../../storage/sanlock.js'
import type { StorageDomain } from '../../storage/storage-domain.js'
import type { Tools } from '../../storage/file-storage-domain.js'
import { ids, never, run, type World } from './crash/world.js'

// Everything that the doctor repairs, each first broken: the same table for files and for block storage.

const { image, base, middle, leaf, otherImage, template } = ids

export type Patient = {
  world: World
  storageDomain: StorageDomain
  edit(volumeId: string, change: Partial<VolumeMetadata>, imageId?: string): Promise<void>
}
export type Case = {
  breakIt(patient: Patient): Promise<void>
  found: Array<[kind: RepairKind | null, object: string]>
  /** What is there although nothing is broken any more. */
  gone?: string
  /** VMs that exist; null where nobody knows. */
  vmIds?: string[]
}

export function toolsOf(root: string): Tools {
  const log = pino({ level: 'silent' })
  const plain = commandRunner(log)
  const sanlock = new Sanlock({ mode: 'direct', runDirectory: null }, plain, systemClock)
  return { run: plain, sanlock, clock: systemClock, log, owner: null, runDirectory: `${root}/run` }
}

export const volume = (change: Partial<CreateVolume> = {}): CreateVolume => ({
  ...{ imageId: image, volumeId: base, parent: null, capacity: MiB(8), format: 'qcow2' },
  ...{ allocation: 'thin', diskContent: 'DATA', description: 'doctor', legal: true },
  ...change
})
const raw = volume({ imageId: otherImage, volumeId: template, format: 'raw', capacity: MiB(128) })

/** base <- middle <- leaf, and a raw volume beside them. */
export async function chain({ ask }: World): Promise<void> {
  await ask.createVolume(volume(), never)
  await ask.createVolume(volume({ volumeId: middle, parent: { imageId: image, volumeId: base } }), never)
  await ask.createVolume(volume({ volumeId: leaf, parent: { imageId: image, volumeId: middle } }), never)
  await ask.createVolume(raw, never)
}

export const cases: Record<string, Case> = {
  nothing: { breakIt: async () => {}, found: [] },
  'a copy that nobody finishes': {
    breakIt: async ({ world }) => {
      const unfinished = volume({ imageId: ids.unrelatedImage, volumeId: ids.unrelated, legal: false })
      await world.ask.createVolume(unfinished, never)
    },
    found: [['removeUnfinished', ids.unrelated]],
    gone: ids.unrelatedImage
  },
  'a leaf left illegal with its data whole': {
    breakIt: async ({ edit }) => edit(leaf, { legality: 'illegal' }),
    found: [['makeLegal', leaf]]
  },
  'an inner volume left illegal by a merge': {
    breakIt: async ({ edit }) => edit(middle, { legality: 'illegal' }),
    found: [['sweep', middle]]
  },
  'roles that are wrong': {
    breakIt: async ({ edit }) => {
      await edit(base, { role: 'leaf' })
      await edit(middle, { role: 'leaf' })
    },
    found: [
      ['sweep', base],
      ['sweep', middle]
    ]
  },
  'a parent that does not exist, and the header knows better': {
    breakIt: async ({ edit }) => edit(leaf, { parentId: ids.unrelated }),
    found: [
      ['correctParent', leaf],
      [null, middle]
    ]
  },
  'no parent, and the header has one': {
    breakIt: async ({ edit }) => edit(middle, { parentId: null }),
    found: [
      ['correctParent', middle],
      [null, base]
    ]
  },
  'a header whose parent is lost': {
    breakIt: async ({ storageDomain }) => {
      const { volumes } = storageDomain
      await volumes.reach([{ imageId: image, volumeId: leaf }], never)
      const path = volumes.path({ imageId: image, volumeId: leaf })
      await run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', ids.unrelated, path)
      await volumes.letGo(image)
    },
    found: [[null, leaf]]
  },
  "a capacity that is not the data's": {
    breakIt: async ({ edit }) => edit(leaf, { capacity: MiB(16) }),
    found: [['correctCapacity', leaf]]
  },
  'a volume whose lease is overwritten': {
    breakIt: async ({ storageDomain }) => {
      const { path, offset } = await storageDomain.leases.volumeResource({ imageId: image, volumeId: middle })
      await writeDirect(path, offset, Buffer.alloc(512, 0x5a))
    },
    found: [['writeVolumeLease', middle]]
  },
  'the lease of a VM that is gone': {
    breakIt: async ({ world }) => {
      await world.ask.createLease({ leaseId: ids.lease }, never)
      await world.ask.createLease({ leaseId: ids.unrelated }, never)
    },
    found: [['removeVmLease', ids.lease]],
    vmIds: [ids.unrelated]
  },
  'an index of leases that names another resource': {
    breakIt: async ({ world, storageDomain }) => {
      const { offset } = await world.ask.createLease({ leaseId: ids.lease }, never)
      await writeDirect(storageDomain.special.xleases, offset, Buffer.alloc(512))
    },
    found: [['rebuildVmLeases', ids.storageDomain]]
  }
}

export type Ward = {
  skip: string | false
  admit(t: Test): Promise<Patient>
}

/** For each case: found as it is broken, not touched by looking, repaired as planned, nothing else changed. */
export function testDoctor(ward: Ward, table: Record<string, Case>): void {
  for (const [name, { breakIt, found, gone, vmIds }] of Object.entries(table)) {
    t.test(`${name}: found, planned and repaired`, { skip: ward.skip, timeout: 120_000 }, async t => {
      const patient = await ward.admit(t)
      await chain(patient.world)
      await breakIt(patient)
      const { ask } = patient.world.restarted()
      const scope = { intents: [], vmIds: vmIds ?? null }
      const plan = await ask.diagnose(scope, never)
      t.strictSame(names(plan), found.toSorted(byText), JSON.stringify(plan))
      t.strictSame(await ask.diagnose(scope, never), plan, 'looking changes nothing')

      const none = await ask.repair({ ...scope, wanted: [] }, never)
      t.strictSame(none, { done: [], failed: [], left: plan }, 'what the plan did not show is left alone')
      const wanted = wantedOf(plan)
      const { failed, left } = await ask.repair({ ...scope, wanted }, never)
      t.strictSame(failed, [])
      const lost = plan.filter(({ plan: words }) => /lost|a person/.test(words) && wanted.length === 0)
      t.strictSame(left, lost)
      if (lost.length === 0) await isUsable(t, ask)
      if (gone) t.strictSame(await ask.listVolumes({ imageId: gone }, never).catch(() => []), [])
    })
  }
}

/** The audit is clean, and the chain is what it was. */
export async function isUsable(t: Test, ask: World['ask']): Promise<void> {
  t.strictSame(await ask.audit({ intents: [] }, never), [])
  const prepared = await ask.prepare({ imageId: image, volumeId: leaf }, never)
  t.strictSame(
    prepared.map(({ volumeId }) => volumeId),
    [leaf, middle, base]
  )
  await ask.tearDown({ imageId: image }, never)
}

export const wantedOf = (plan: readonly Diagnosis[]) =>
  plan.flatMap(({ kind, object }) => (kind === null ? [] : [{ kind, object }]))

const byText = (a: unknown, b: unknown) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
const names = (all: readonly Diagnosis[]) =>
  all.map(({ kind, object }): [RepairKind | null, string] => [kind, object]).toSorted(byText)

/** A writer of records beside the worker, for what no operation does. */
export function editor(storageDomain: StorageDomain): Patient['edit'] {
  return async (volumeId, change, imageId = image) => {
    const { volumes } = storageDomain
    const before = await volumes.read({ imageId, volumeId })
    await volumes.write({ imageId, volumeId }, { ...before, ...change }, 'test/edit')
  }
}
