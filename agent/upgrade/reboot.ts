import { access, readdir } from 'node:fs/promises'
import { release } from 'node:os'
import type { Upgraded } from './apt.js'

export type RebootFacts = {
  /** Debian's mark of a package that wants one. */
  hasMarker: boolean
  /** Release of the kernel that runs. */
  kernel: string
  /** Releases of the kernels that are installed; empty where the host boots another way. */
  installedKernels: readonly string[]
}

const needsBoot = /^(linux-image-|libc6$|systemd$|dbus$|intel-microcode$|amd64-microcode$)/

/** Why a host has to be rebooted, in words; empty when it need not be. PURE. */
export function rebootReason(
  { hasMarker, kernel, installedKernels }: RebootFacts,
  upgraded: readonly Upgraded[]
): string {
  const replaced = upgraded.filter(({ name }) => needsBoot.test(name)).map(({ name }) => name)
  if (replaced.length > 0) return `new: ${replaced.join(', ')}`
  if (hasMarker) return 'the host says so (/run/reboot-required)'
  const newest = installedKernels.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  const isOld = newest !== undefined && installedKernels.includes(kernel) && newest !== kernel
  return isOld ? `kernel ${kernel} runs, ${newest} is installed` : ''
}

export async function readRebootFacts(): Promise<RebootFacts> {
  const boot = await readdir('/boot').catch(() => [])
  const hasMarker = await access('/run/reboot-required').then(
    () => true,
    () => false
  )
  const installedKernels = boot.flatMap(name => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? [])
  return { hasMarker, kernel: release(), installedKernels }
}
