import { readFile, statfs } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from '../common/clock.js'

export type HostStats = {
  at: number
  cpuPercent: number
  load1: number
  memoryAvailable: number
  memoryTotal: number
  swapUsed: number
  stateFree: number
  eventLoopLagMs: number
}

type CpuTimes = { busy: number; all: number }

/** Numbers of the host out of /proc, one round after another; CPU is what was busy since the round before. */
export class HostStatsReader {
  readonly #clock: Clock
  readonly #stateDirectory: string
  readonly #delay = monitorEventLoopDelay({ resolution: 20 })
  #before: CpuTimes | null = null

  constructor(clock: Clock, stateDirectory: string) {
    this.#clock = clock
    this.#stateDirectory = stateDirectory
    this.#delay.enable()
  }

  async read(): Promise<HostStats> {
    const [stat, meminfo, loadavg, space] = await Promise.all([
      readFile('/proc/stat', 'utf8'),
      readFile('/proc/meminfo', 'utf8'),
      readFile('/proc/loadavg', 'utf8'),
      statfs(this.#stateDirectory)
    ])
    const times = cpuTimesOf(stat)
    const memory = memoryOf(meminfo)
    const lag = this.#delay.count === 0 ? 0 : Math.max(0, this.#delay.max / 1e6 - 20)
    this.#delay.reset()
    const cpuPercent = this.#before === null ? 0 : busyPercent(this.#before, times)
    this.#before = times
    return {
      at: this.#clock.wall(),
      cpuPercent,
      load1: Number(loadavg.split(' ')[0]) || 0,
      memoryAvailable: memory('MemAvailable'),
      memoryTotal: memory('MemTotal'),
      swapUsed: memory('SwapTotal') - memory('SwapFree'),
      stateFree: space.bavail * space.bsize,
      eventLoopLagMs: lag
    }
  }

  close(): void {
    this.#delay.disable()
  }
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal … in ticks. */
export function cpuTimesOf(stat: string): CpuTimes {
  const ticks = (stat.split('\n')[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number)
  const all = ticks.reduce((sum, count) => sum + count, 0)
  return { all, busy: all - (ticks[3] ?? 0) - (ticks[4] ?? 0) }
}

export function busyPercent(before: CpuTimes, after: CpuTimes): number {
  const all = after.all - before.all
  return all <= 0 ? 0 : Math.min(100, Math.max(0, (100 * (after.busy - before.busy)) / all))
}

/** A line of /proc/meminfo in bytes. */
export function memoryOf(meminfo: string): (name: string) => number {
  const lines = new Map(meminfo.split('\n').map(line => line.split(':') as [string, string]))
  return name => (Number.parseInt(lines.get(name) ?? '0', 10) || 0) * 1024
}
