import type { Sanlock } from './sanlock.js'
import type { QemuImgCall } from './qemu-img-args.js'
import type { Resource } from './storage-domain.js'
import { asStorageUser } from './storage-user.js'

/**
 * A program that moves a volume's data, and may run for hours. The worker says what to run; the agent's main
 * process runs it outside of itself, so that it outlives both. It holds the lease of the volume it writes.
 */
export type DataProgram = {
  /** The program first; its directory, its limits and its lease are part of the words. */
  argv: string[]
  /** How its progress is told. */
  progress: 'qemu-img' | 'apt' | 'none'
}

/**
 * The directory is changed by `env`, not by whoever starts the program: changing into a directory of a hung
 * mount blocks, and a starting process blocks its parent until it has begun.
 */
export function dataProgram(
  { argv, cwd }: QemuImgCall,
  lease: Resource | null,
  sanlock: Sanlock
): DataProgram {
  const words = [...asStorageUser(), '/usr/bin/env', '-C', cwd ?? '/', ...argv]
  return { argv: lease === null ? words : [...sanlock.holding(lease), ...words], progress: 'qemu-img' }
}

/** `    (12.34/100%)` of qemu-img, `pmstatus:PACKAGE:12.34:…` of apt: the last one counts. */
export function percentIn(output: string): number | null {
  const told = /\((\d{1,3}(?:\.\d+)?)\/100%\)|^pmstatus:[^:\n]*(?::[^:\n]*)?:(\d{1,3}(?:\.\d+)?):/gm
  const last = [...output.matchAll(told)].at(-1)
  const found = last?.[1] ?? last?.[2]
  return found === undefined ? null : Math.min(100, Number(found))
}
