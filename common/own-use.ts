import { readdir, readFile } from 'node:fs/promises'
import type { Clock } from './clock.js'
import { seconds } from './units.js'

// I19: a daemon that runs for months holds what it held on its first day. What it uses is compared with what it
// used when it was warm.

export type Use = { residentBytes: number; openFiles: number; children: number }
export type UseReport = { warm: Use | null; latest: Use | null }

const warmAfter = seconds(600)

/** How often a daemon looks. */
export const betweenLooks = seconds(60)

/** What this process uses of the machine. */
export async function ownUse(): Promise<Use> {
  const [files, children] = await Promise.all([
    readdir('/proc/self/fd'),
    readFile(`/proc/self/task/${process.pid}/children`, 'utf8').catch(() => '')
  ])
  const residentBytes = process.memoryUsage.rss()
  return { residentBytes, openFiles: files.length, children: children.split(' ').filter(Boolean).length }
}

/** Looks now and then, and remembers how it was after the first ten minutes. */
export class UseWatch {
  readonly report: UseReport = { warm: null, latest: null }
  readonly #clock: Clock
  readonly #started: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#started = clock.monotonic()
  }

  async look(read: () => Promise<Use> = ownUse): Promise<void> {
    const now = await read()
    this.report.latest = now
    if (this.#clock.monotonic() - this.#started >= warmAfter) this.report.warm ??= now
  }
}

/** What has grown far beyond what more VMs or callers explain; empty where nothing has. PURE. */
export function growth({ warm, latest }: UseReport): string[] {
  if (warm === null || latest === null) return []
  const bounds = [
    { name: 'bytes of memory', was: warm.residentBytes, is: latest.residentBytes, room: 256 * 2 ** 20 },
    { name: 'open files', was: warm.openFiles, is: latest.openFiles, room: 200 },
    { name: 'child processes', was: warm.children, is: latest.children, room: 20 }
  ]
  return bounds
    .filter(({ was, is, room }) => is > 2 * was + room)
    .map(({ name, was, is }) => `${is} ${name}, and ${was} when it was warm`)
}
