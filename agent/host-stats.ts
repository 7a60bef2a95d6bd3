import { statfs } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from '../common/clock.js'
import { ProcFile } from './proc-file.js'

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

// Each look wakes the process, ten times a second.
const lagResolution = 100
const spaceEvery = 10

type CpuTimes = { busy: number; all: number }

/** Numbers of the host out of /proc, one round after another; CPU is what was busy since the round before. */
export class HostStatsReader {
  readonly #clock: Clock
  readonly #stateDirectory: string
  readonly #delay = monitorEventLoopDelay({ resolution: lagResolution })
  readonly #files = {
    stat: new ProcFile('/proc/stat'),
    meminfo: new ProcFile('/proc/meminfo'),
    loadavg: new ProcFile('/proc/loadavg')
  }
  #before: CpuTimes | null = null
  #rounds = 0
  #stateFree = 0

  constructor(clock: Clock, stateDirectory: string) {
    this.#clock = clock
    this.#stateDirectory = stateDirectory
    this.#delay.enable()
  }

  async read(): Promise<HostStats> {
    const { stat, meminfo, loadavg } = this.#files
    if (this.#rounds++ % spaceEvery === 0) await this.#readSpace()
    const times = cpuTimesOf(stat.read())
    const memory = memoryOf(meminfo.read())
    const lag = this.#delay.count === 0 ? 0 : Math.max(0, this.#delay.max / 1e6 - lagResolution)
    this.#delay.reset()
    const cpuPercent = this.#before === null ? 0 : busyPercent(this.#before, times)
    this.#before = times
    return {
      at: this.#clock.wall(),
      cpuPercent,
      load1: Number(loadavg.read().split(' ')[0]) || 0,
      memoryAvailable: memory('MemAvailable'),
      memoryTotal: memory('MemTotal'),
      swapUsed: memory('SwapTotal') - memory('SwapFree'),
      stateFree: this.#stateFree,
      eventLoopLagMs: lag
    }
  }

  async #readSpace(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#stateDirectory)
    this.#stateFree = bavail * bsize
  }

  close(): void {
    this.#delay.disable()
    for (const file of Object.values(this.#files)) file.close()
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
