// Which machine type a VM gets at its first start, and keeps. PURE.

/** The newest q35 that all hosts of the cluster offer; else the newest of the host; empty when it offers none. */
export function newestMachineType(host: readonly string[], others: ReadonlyArray<readonly string[]>): string {
  const offered = host.filter(name => version(name) !== null).toSorted(byVersion)
  const common = offered.filter(name => others.every(types => types.includes(name)))
  return common.at(-1) ?? offered.at(-1) ?? ''
}

/** "pc-q35-7.2" → [7, 2]; aliases like "q35", which mean something else after an upgrade, have none. */
function version(name: string): [number, number] | null {
  const [, major, minor] = /^pc-q35-(\d+)\.(\d+)$/.exec(name) ?? []
  return major === undefined || minor === undefined ? null : [Number(major), Number(minor)]
}

function byVersion(a: string, b: string): number {
  const [major = 0, minor = 0] = version(a) ?? []
  const [otherMajor = 0, otherMinor = 0] = version(b) ?? []
  return major - otherMajor || minor - otherMinor
}
