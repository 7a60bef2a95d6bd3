import type { CpuLimits, DiskLimits, NetworkLimits } from '../common/limits.js'
import { Fault } from '../common/fault.js'
import { diskTargets } from '../libvirt/domain-xml.js'
import { bandwidthOf, cpuTune, ioTune } from '../libvirt/limits-xml.js'
import { setBlockIoTune, setCpuTune, setInterfaceBandwidth } from '../libvirt/tuning.js'
import { meant } from './stop-vm.js'
import type { VmWorld } from './start-vm.js'
import type { Vm } from './vm.js'
import { writeRecord } from './vm-records.js'
import type { VmSpec } from './vm-spec.js'
import { isRunning } from './vm-status.js'

export type WantedLimits = {
  vmId: string
  generation: number
  cpuLimits: CpuLimits | null
  disks: Array<{ diskId: string; limits: DiskLimits | null }>
  nics: Array<{ mac: string; limits: NetworkLimits | null }>
}

/** Holds a VM that runs to other limits, and writes down what it is held to. Only what differs is touched. */
export async function setVmLimits(world: VmWorld, wanted: WantedLimits, signal: AbortSignal): Promise<void> {
  const { vmId, generation } = wanted
  const vm = meant(world, { vmId, generation })
  await vm.lane.run(
    'set limits',
    async () => {
      if (!isRunning(vm.state)) throw new Fault('WRONG_STATE', `VM ${vmId} does not run`)
      const { spec } = vm.own()
      const next = withLimits(spec, wanted)
      await apply(vm, spec, next, signal)
      if (JSON.stringify(next) !== JSON.stringify(spec)) await writeRecord(vm, { spec: next }, signal)
    },
    signal
  )
}

/** What is not named keeps its limits. PURE. */
export function withLimits(spec: VmSpec, { cpuLimits, disks, nics }: WantedLimits): VmSpec {
  const ofDisk = new Map(disks.map(({ diskId, limits }) => [diskId, limits]))
  const ofNic = new Map(nics.map(({ mac, limits }) => [mac, limits]))
  const pick = <T>(known: Map<string, T | null>, id: string, before: T | null | undefined) =>
    known.has(id) ? (known.get(id) ?? null) : (before ?? null)
  return {
    ...spec,
    cpuLimits,
    disks: spec.disks.map(disk => ({ ...disk, limits: pick(ofDisk, disk.diskId, disk.limits) })),
    nics: spec.nics.map(nic => ({ ...nic, limits: pick(ofNic, nic.mac, nic.limits) }))
  }
}

async function apply(
  { libvirtDomain }: Vm,
  before: VmSpec,
  after: VmSpec,
  signal: AbortSignal
): Promise<void> {
  const live = { live: true }
  const isOther = (a: unknown, b: unknown) => JSON.stringify(a ?? null) !== JSON.stringify(b ?? null)
  if (isOther(before.cpuLimits, after.cpuLimits))
    await setCpuTune(libvirtDomain, cpuTune(after.cpuLimits, after.vcpus), live, signal)
  const targets = diskTargets(after.disks.map(({ bus, cdrom }) => ({ bus, isCdrom: cdrom })))
  for (const [index, { limits = null }] of after.disks.entries()) {
    if (isOther(before.disks[index]?.limits, limits))
      await setBlockIoTune(libvirtDomain, targets[index] ?? '', ioTune(limits), live, signal)
  }
  for (const [index, { mac, limits = null }] of after.nics.entries()) {
    if (isOther(before.nics[index]?.limits, limits))
      await setInterfaceBandwidth(libvirtDomain, mac, bandwidthOf(limits), live, signal)
  }
}
