import { contentHash } from '../../common/ids.js'
import { wireDiskLimits, type CpuLimits, type DiskLimits, type NetworkLimits } from '../../common/limits.js'
import { limitsOf } from '../store/qos.js'
import type { Reader } from '../store/query.js'
import { vm as vmRow, vmDisks, vmNics, type Vm } from '../store/vms.js'

/** What a VM is held to, resolved from its profiles. */
export type VmLimits = {
  cpu: CpuLimits | null
  disks: Array<{ diskId: string; limits: DiskLimits | null }>
  nics: Array<{ mac: string; limits: NetworkLimits | null }>
}

export function readVmLimits(reader: Reader, vmId: string): VmLimits {
  return {
    cpu: limitsOf(reader, vmRow(reader, vmId).cpuProfileId) as CpuLimits | null,
    disks: vmDisks(reader, vmId).map(({ diskId, profileId }) => {
      return { diskId, limits: limitsOf(reader, profileId) as DiskLimits | null }
    }),
    nics: vmNics(reader, vmId).map(({ mac, profileId }) => {
      return { mac, limits: limitsOf(reader, profileId) as NetworkLimits | null }
    })
  }
}

/** As hosts are told of them. */
export const wireLimits = ({ cpu, disks, nics }: VmLimits) => ({
  cpuLimits: cpu,
  disks: disks.map(({ diskId, limits }) => ({ diskId, limits: limits && wireDiskLimits(limits) })),
  nics
})

const steady: ReadonlySet<string> = new Set(['up', 'paused'])

/**
 * The mark of what a VM that runs is to be held to, where its host was not told so yet; null when nothing is to
 * be told. Where and since when it runs is part of the mark: a start and a migration are told once more, which
 * costs nothing. Without any limit, now or before, nobody is asked. PURE.
 */
export function newMark(
  {
    status,
    hostId,
    generation,
    limitsApplied
  }: Pick<Vm, 'status' | 'hostId' | 'generation' | 'limitsApplied'>,
  limits: VmLimits
): string | null {
  if (!steady.has(status) || hostId === null) return null
  const isFree = [
    limits.cpu,
    ...limits.disks.map(one => one.limits),
    ...limits.nics.map(one => one.limits)
  ].every(one => one === null)
  if (isFree && limitsApplied === '') return null
  const mark = isFree ? '' : contentHash({ hostId, generation, limits })
  return mark === limitsApplied ? null : mark
}
