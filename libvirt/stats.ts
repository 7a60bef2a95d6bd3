import type { Libvirt } from './connections.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import { stateOf, type DomainState } from './domain-state.js'
import { procedures as p } from './procedures.js'
import { numberIn, paramsOf, textIn, type Params } from './typed-params.js'

export type StatsGroup = Lowercase<keyof typeof c.domainStatsTypes>

/** One guest's numbers. Times in nanoseconds, sizes in bytes unless the name says KiB; null: not reported. */
export type DomainStats = {
  uuid: string
  state: DomainState | null
  cpu: { timeNs: number; userNs: number; systemNs: number } | null
  balloon: Balloon | null
  vcpus: { current: number; maximum: number; each: VcpuStats[] } | null
  nics: NicStats[]
  disks: DiskStats[]
  /** Everything under libvirt's own names. */
  raw: Params
}
export type Balloon = {
  currentKiB: number | null
  maximumKiB: number | null
  rssKiB: number | null
  /** The rest only when the guest's driver reports it. */
  unusedKiB: number | null
  usableKiB: number | null
  availableKiB: number | null
  swapInKiB: number | null
  swapOutKiB: number | null
  majorFaults: number | null
  lastUpdate: number | null
}
export type VcpuStats = { index: number; state: number; timeNs: number; waitNs: number; delayNs: number }
export type NicStats = { name: string } & Record<'rx' | 'tx', Traffic>
export type Traffic = { bytes: number; packets: number; errors: number; drops: number }
export type DiskStats = {
  /** The target, `vda`. */
  name: string
  path: string | null
  /** The N of `vda[N]`: which volume of the chain. */
  backingIndex: number | null
  read: DiskTraffic
  write: DiskTraffic
  flush: { requests: number; timeNs: number }
  allocation: number | null
  capacity: number | null
  physical: number | null
  threshold: number | null
}
export type DiskTraffic = { requests: number; bytes: number; timeNs: number }

/**
 * Statistics of all running guests, or of the given ones, in one call that waits for no guest: one that is
 * stuck has fewer numbers. With `backing`, one entry of `disks` for every volume of a chain.
 */
export async function domainStats(
  libvirt: Libvirt,
  { groups, uuids, backing = false }: { groups: StatsGroup[]; uuids?: string[]; backing?: boolean },
  signal: AbortSignal
): Promise<DomainStats[]> {
  if (uuids?.length === 0) return []
  const f = c.connectGetAllDomainStatsFlags
  const types: Record<string, number> = c.domainStatsTypes
  const { retStats } = await libvirt.call(
    p.connectGetAllDomainStats,
    {
      doms: (uuids ?? []).map(uuid => ({ name: '', uuid, id: -1 })),
      stats: flags(...groups.map(group => types[group.toUpperCase()] ?? 0)),
      flags: flags(f.NOWAIT, uuids ? 0 : f.ACTIVE, backing ? f.BACKING : 0)
    },
    signal
  )
  return retStats.map(({ dom, params }) => statsOf(dom.uuid, paramsOf(params)))
}

export function statsOf(uuid: string, raw: Params): DomainStats {
  const number = (field: string) => numberIn(raw, field)
  const state = number('state.state')
  const cpuTime = number('cpu.time')
  return {
    uuid,
    state: state === null ? null : stateOf(state, number('state.reason') ?? 0),
    cpu:
      cpuTime === null
        ? null
        : { timeNs: cpuTime, userNs: number('cpu.user') ?? 0, systemNs: number('cpu.system') ?? 0 },
    balloon: balloonIn(number),
    vcpus: vcpusIn(number),
    nics: indexes(number('net.count')).map(index => nicIn(raw, index)),
    disks: indexes(number('block.count')).map(index => diskIn(raw, index)),
    raw
  }
}

type Numbers = (field: string) => number | null

function balloonIn(number: Numbers): Balloon | null {
  if (number('balloon.maximum') === null) return null
  return {
    currentKiB: number('balloon.current'),
    maximumKiB: number('balloon.maximum'),
    rssKiB: number('balloon.rss'),
    unusedKiB: number('balloon.unused'),
    usableKiB: number('balloon.usable'),
    availableKiB: number('balloon.available'),
    swapInKiB: number('balloon.swap_in'),
    swapOutKiB: number('balloon.swap_out'),
    majorFaults: number('balloon.major_fault'),
    lastUpdate: number('balloon.last-update')
  }
}

function vcpusIn(number: Numbers): DomainStats['vcpus'] {
  const maximum = number('vcpu.maximum')
  if (maximum === null) return null
  const each = indexes(maximum).flatMap(index => {
    const state = number(`vcpu.${index}.state`)
    if (state === null) return []
    const time = (what: string) => number(`vcpu.${index}.${what}`) ?? 0
    return [{ index, state, timeNs: time('time'), waitNs: time('wait'), delayNs: time('delay') }]
  })
  return { current: number('vcpu.current') ?? each.length, maximum, each }
}

function nicIn(raw: Params, index: number): NicStats {
  const traffic = (way: 'rx' | 'tx'): Traffic => {
    const of = (what: string) => numberIn(raw, `net.${index}.${way}.${what}`) ?? 0
    return { bytes: of('bytes'), packets: of('pkts'), errors: of('errs'), drops: of('drop') }
  }
  return { name: textIn(raw, `net.${index}.name`) ?? '', rx: traffic('rx'), tx: traffic('tx') }
}

function diskIn(raw: Params, index: number): DiskStats {
  const of = (what: string) => numberIn(raw, `block.${index}.${what}`)
  const traffic = (way: 'rd' | 'wr'): DiskTraffic => ({
    requests: of(`${way}.reqs`) ?? 0,
    bytes: of(`${way}.bytes`) ?? 0,
    timeNs: of(`${way}.times`) ?? 0
  })
  return {
    name: textIn(raw, `block.${index}.name`) ?? '',
    path: textIn(raw, `block.${index}.path`),
    backingIndex: of('backingIndex'),
    read: traffic('rd'),
    write: traffic('wr'),
    flush: { requests: of('fl.reqs') ?? 0, timeNs: of('fl.times') ?? 0 },
    allocation: of('allocation'),
    capacity: of('capacity'),
    physical: of('physical'),
    threshold: of('threshold')
  }
}

/** Counts come from libvirt, but never let one make us loop for long. */
const indexes = (count: number | null) =>
  Array.from({ length: Math.min(count ?? 0, 4096) }, (_, index) => index)
