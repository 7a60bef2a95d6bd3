import { truncate, unlink, writeFile } from 'node:fs/promises'
import type { Test } from 'tap'
import { fileLayout } from '../../storage/file-layout.js'
import { FileStorageDomain } from '../../storage/file-storage-domain.js'
import { ids, never, newStorageDomain, newWorld, run } from './crash/world.js'
import { type Case, editor, type Patient, toolsOf } from './doctor-cases.js'

const layoutOf = ({ world }: Patient) => fileLayout(`${world.mount}/${ids.storageDomain}`)

/** A storage domain of files. */
export async function admitFiles(t: Test): Promise<Patient> {
  const world = await newWorld()
  t.teardown(() => world.remove())
  await world.ask.createStorageDomain(newStorageDomain(world), never)
  const directory = `${world.mount}/${ids.storageDomain}`
  const storageDomain = await FileStorageDomain.open(directory, toolsOf(world.root))
  return { world, storageDomain, edit: editor(storageDomain) }
}

/** What only files can have wrong. */
export const fileCases: Record<string, Case> = {
  'files of a volume that was never published': {
    breakIt: async patient => writeFile(layoutOf(patient).volume(ids.image, ids.unrelated), 'half'),
    found: [['sweep', ids.unrelated]]
  },
  'a removed image that was not purged': {
    breakIt: async patient => {
      const { image, removed } = layoutOf(patient)
      await run('cp', '-a', image(ids.otherImage), removed(ids.unrelatedImage, true))
    },
    found: [['sweep', ids.unrelatedImage]]
  },
  'an image without volumes': {
    breakIt: async patient => void (await run('mkdir', layoutOf(patient).image(ids.unrelatedImage))),
    found: [['sweep', ids.unrelatedImage]]
  },
  'a raw file that is too short': {
    breakIt: async patient => truncate(layoutOf(patient).volume(ids.otherImage, ids.template), 2 ** 20),
    found: [['grow', ids.template]]
  },
  'a lease that is missing': {
    breakIt: async patient => unlink(layoutOf(patient).lease(ids.image, ids.base)),
    found: [['writeVolumeLease', ids.base]]
  },
  'a record that is damaged': {
    breakIt: async patient => writeFile(layoutOf(patient).meta(ids.otherImage, ids.template), 'XX'),
    found: [[null, ids.template]]
  },
  'a record whose data is missing': {
    breakIt: async patient => unlink(layoutOf(patient).volume(ids.otherImage, ids.template)),
    found: [[null, ids.template]]
  }
}
