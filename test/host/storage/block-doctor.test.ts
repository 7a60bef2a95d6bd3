import type { Test } from 'tap'
import { BlockStorageDomain } from '../../../storage/block-storage-domain.js'
import type { LvmCommand } from '../../../storage/lvm-args.js'
import { ids, never } from '../../storage/crash/world.js'
import { type Case, cases, editor, type Patient, testDoctor, toolsOf } from '../../storage/doctor-cases.js'
import { testDoctorCutOff } from '../../storage/doctor-cut-off.js'
import { type BlockWorld, newBlockStorageDomain, newBlockWorld, skipped } from './block-world.js'

const vg = ids.storageDomain

async function admit(t: Test): Promise<Patient> {
  const world = await newBlockWorld()
  t.teardown(() => world.remove())
  const devices = world.devices.slice(0, 1)
  await world.ask.createBlockStorageDomain({ ...newBlockStorageDomain(world), devices }, never)
  const storageDomain = await BlockStorageDomain.open(vg, world.devices, toolsOf(world.root))
  return { world, storageDomain, edit: editor(storageDomain) }
}

const change = ({ storageDomain }: Patient, command: LvmCommand) =>
  (storageDomain as BlockStorageDomain).group.change(command, never)
const newLv = { kind: 'createLv' as const, vg, lv: ids.unrelated, mebibytes: 128, pv: null }
const retag = (patient: Patient, lv: string, remove: string, add: string) =>
  change(patient, { kind: 'changeLvTags', vg, lvs: [lv], remove: [remove], add: [add] })

// What LVM's metadata alone can have wrong, and one of each sort of the others: they are the same on files.
const alike = [
  'a leaf left illegal with its data whole',
  'a parent that does not exist, and the header knows better',
  "a capacity that is not the data's",
  'a volume whose lease is overwritten',
  'the lease of a VM that is gone'
]

testDoctor(
  { skip: skipped, admit },
  Object.fromEntries(alike.map(name => [name, cases[name] ?? cases['nothing']!]))
)

const onBlockOnly: Record<string, Case> = {
  'a volume half made': {
    breakIt: async patient => change(patient, { ...newLv, tags: ['OVIRT_VOL_INITIALIZING'] }),
    found: [['sweep', ids.unrelated]]
  },
  'a logical volume that says nothing of itself': {
    breakIt: async patient => change(patient, { ...newLv, tags: [] }),
    found: [['removeOrphan', ids.unrelated]]
  },
  'a logical volume that lost its parent tag': {
    breakIt: async patient => change(patient, { ...newLv, tags: ['MD_99', `IU_${ids.unrelatedImage}`] }),
    found: [[null, ids.unrelated]]
  },
  'a removed image that was not purged': {
    breakIt: async patient =>
      retag(patient, ids.template, `IU_${ids.otherImage}`, `IU__remove_me_${ids.otherImage}`),
    found: [['sweep', ids.otherImage]],
    gone: ids.otherImage
  },
  'a tag that names another parent than the record': {
    breakIt: async patient => retag(patient, ids.leaf, `PU_${ids.middle}`, `PU_${ids.base}`),
    found: [['sweep', ids.leaf]]
  },
  'a raw volume with less room than its capacity': {
    breakIt: async ({ edit }) => edit(ids.template, { capacity: (256 * 2 ** 20) as never }, ids.otherImage),
    found: [['grow', ids.template]]
  },
  'a device that the metadata does not name': {
    breakIt: async patient => {
      const [, device = ''] = (patient.world as BlockWorld).devices
      await patient.world.ask.addDevice({ device }, never)
      const { identity } = patient.storageDomain
      const { pvs } = await identity.metadata()
      await identity.change({ pvs: new Map([...pvs].slice(0, 1)) }, 'test/edit')
    },
    found: [['sweep', ids.storageDomain]]
  }
}

testDoctor({ skip: skipped, admit }, onBlockOnly)
testDoctorCutOff({ skip: skipped, admit }, onBlockOnly)
