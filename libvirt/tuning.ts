import { affectFlags, type Affect, type Domain } from './domain.js'
import { procedures as p } from './procedures.js'
import { llong, present, text, uint, ullong } from './typed-params.js'

/** Limits of one disk; 0 lifts one, what is absent stays. `groupName` lets disks share them. */
export type BlockIoTune = {
  [K in `${'total' | 'read' | 'write'}_${'bytes' | 'iops'}_sec${'' | '_max' | '_max_length'}`]?: number
} & { size_iops_sec?: number; group_name?: string }

export async function setBlockIoTune(
  domain: Domain,
  disk: string,
  tune: BlockIoTune,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const params = Object.entries(tune).map(([field, value]) =>
    typeof value === 'string' ? text(field, value) : ullong(field, value)
  )
  const args = { dom: domain.ref, disk, params, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetBlockIoTune, args, signal)
}

/** KiB/s; the burst in KiB. All three zero lifts the limit. */
export type Bandwidth = { average: number; peak?: number; burst?: number }

export async function setInterfaceBandwidth(
  domain: Domain,
  device: string,
  { inbound, outbound }: { inbound?: Bandwidth; outbound?: Bandwidth },
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const way = (name: string, limit: Bandwidth | undefined) =>
    limit === undefined
      ? []
      : [
          uint(`${name}.average`, limit.average),
          uint(`${name}.peak`, limit.peak ?? 0),
          uint(`${name}.burst`, limit.burst ?? 0)
        ]
  const params = [...way('inbound', inbound), ...way('outbound', outbound)]
  const args = { dom: domain.ref, device, params, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetInterfaceParameters, args, signal)
}

/** CPU weight, and quota per period in microseconds; a quota of -1 is none. */
export type CpuTune = { shares?: number; vcpuPeriod?: number; vcpuQuota?: number; emulatorQuota?: number }

export async function setCpuTune(
  domain: Domain,
  { shares, vcpuPeriod, vcpuQuota, emulatorQuota }: CpuTune,
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const params = present(
    shares === undefined ? null : ullong('cpu_shares', shares),
    vcpuPeriod === undefined ? null : ullong('vcpu_period', vcpuPeriod),
    vcpuQuota === undefined ? null : llong('vcpu_quota', vcpuQuota),
    emulatorQuota === undefined ? null : llong('emulator_quota', emulatorQuota)
  )
  const args = { dom: domain.ref, params, flags: affectFlags(affect) }
  await domain.libvirt.call(p.domainSetSchedulerParametersFlags, args, signal)
}

/** Lets a vCPU, or the emulator, run on these host CPUs only. */
export async function pinVcpu(
  domain: Domain,
  vcpu: number | 'emulator',
  cpus: readonly number[],
  affect: Affect,
  signal: AbortSignal
): Promise<void> {
  const common = { dom: domain.ref, cpuMap: cpuMap(cpus), flags: affectFlags(affect) }
  if (vcpu === 'emulator') await domain.libvirt.call(p.domainPinEmulator, common, signal)
  else await domain.libvirt.call(p.domainPinVcpuFlags, { ...common, vcpu }, signal)
}

/** Bit n of byte n/8. */
export function cpuMap(cpus: readonly number[]): Buffer {
  const map = Buffer.alloc(Math.floor(Math.max(0, ...cpus) / 8) + 1)
  for (const cpu of cpus) map[cpu >> 3] = (map[cpu >> 3] ?? 0) | (1 << (cpu & 7))
  return map
}
