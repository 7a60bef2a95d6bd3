import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { updateDevice } from '../libvirt/devices.js'
import type { DiskSpec } from '../libvirt/domain-spec.js'
import { diskXml } from '../libvirt/domain-xml.js'
import { drivesOf, driveSpec, isSameMedium, withMedium, type Medium } from './cd-drives.js'
import { lunsOf, lunSpec } from './luns.js'
import { meant } from './stop-vm.js'
import type { VmWorld } from './start-vm.js'
import type { TaskRun } from './tasks.js'
import type { Vm } from './vm.js'
import { writeRecord } from './vm-records.js'
import type { VmSpec } from './vm-spec.js'

export type WantedCd = {
  vmId: string
  generation: number | null
  drive: number
  medium: Medium | null
  force: boolean
}

/**
 * Changes what is in a CD-ROM drive while the VM runs: the new image is made usable, the drive is told, and the old
 * image is let go of. What is on record is written last: until then the same request does everything again.
 */
export async function changeCd(
  world: VmWorld,
  wanted: WantedCd,
  { signal, progress }: TaskRun
): Promise<Record<string, string>> {
  const { vmId, drive, medium } = wanted
  const vm = meant(world, wanted)
  await vm.lane.run(
    'change CD',
    async () => {
      vm.throwUnlessAllowed('changeCd')
      const { spec } = vm.own()
      const next = withMedium(spec, drive, medium)
      const before = drivesOf(spec)[drive - 1]?.medium ?? null
      const isOther = !isSameMedium(before, medium)
      try {
        const chain = medium ? await world.disks.prepareMedium(vmId, medium, signal) : []
        await crashpoint('vm.cd.prepared')
        progress({ percent: 50, phase: 'changing the CD' })
        await tell(vm, next, drive - 1, chain, wanted, signal)
        await crashpoint('vm.cd.changed')
      } catch (error) {
        if (medium && isOther) await world.disks.letGoOfMedium(vmId, medium).catch(() => {})
        throw error
      }
      await writeRecord(vm, { spec: next }, signal)
      await crashpoint('vm.cd.recorded')
      if (before && isOther && !isStillUsed(next, before)) {
        await world.disks.letGoOfMedium(vmId, before).catch(() => {})
      }
    },
    signal
  )
  return {}
}

const isStillUsed = (spec: VmSpec, old: Medium) =>
  drivesOf(spec).some(({ medium }) => medium?.imageId === old.imageId)

/** The drive as it is, with another source: libvirt finds it by its place. Its next start is by the same words. */
async function tell(
  { libvirtDomain, isDefined }: Vm,
  spec: VmSpec,
  index: number,
  chain: DiskSpec['chain'],
  { force, vmId, drive }: WantedCd,
  signal: AbortSignal
): Promise<void> {
  const xml = diskXml(drivesAndDisks(spec, index, chain), spec.disks.length + lunsOf(spec).length + index)
  try {
    await updateDevice(libvirtDomain, xml, { live: true, config: isDefined }, signal, { force })
  } catch (error) {
    if (!isLocked(error)) throw error
    const text = `the guest keeps the tray of CD-ROM drive ${drive} locked; eject it there, or use force`
    throw new Fault('WRONG_STATE', text, { cause: error, facts: { vm: vmId } })
  }
}

/** libvirt has no number of its own for it. */
const isLocked = (error: unknown) =>
  error instanceof Fault && /tray of device|is locked|not open|could not be ejected/i.test(error.message)

/** All of them, for names and places are counted through; only the drive that changes has something in it. */
function drivesAndDisks(spec: VmSpec, changed: number, chain: DiskSpec['chain']): DiskSpec[] {
  const { disks, bootFromCd = false } = spec
  const luns = lunsOf(spec)
  const drives = drivesOf(spec)
  return [
    ...disks.map(({ diskId, bus, cdrom, readOnly, slot }) => {
      return { diskId, bus, isCdrom: cdrom, isReadOnly: readOnly, slot, chain: [], hasDirectIo: false }
    }),
    ...luns.map(lun => lunSpec(lun, null, 0)),
    ...drives.map((_, index) => {
      const boot = index + 1 + (bootFromCd ? 0 : disks.length + luns.length)
      return driveSpec(index, index === changed ? chain : [], boot)
    })
  ]
}
