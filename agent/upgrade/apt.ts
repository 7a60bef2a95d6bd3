// What apt is told, and what it says. PURE.

/** A package that is, or would be, brought to another version; `before` is empty for one that is new. */
export type Upgraded = { name: string; before: string; after: string }

// Configuration files that a person changed stay as they are: nobody is there to be asked.
const keepsConfiguration = ['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold']
const waitsForOthers = ['-o', 'DPkg::Lock::Timeout=300']

/** All that can be upgraded, with what that newly needs; or only these packages, and only if they are installed. */
const verbOf = (packages: readonly string[]) =>
  packages.length === 0 ? ['upgrade', '--with-new-pkgs'] : ['install', '--only-upgrade', '--', ...packages]

export const refreshArgs = (): string[] => [
  '-q',
  ...waitsForOthers,
  '-o',
  'APT::Update::Error-Mode=any',
  'update'
]

export const simulateArgs = (packages: readonly string[]): string[] => [
  ...['-q', '-s', '-o', 'Debug::NoLocking=true'],
  ...verbOf(packages)
]

/** Progress comes as lines "pmstatus:PACKAGE:PERCENT:WORDS" among the others. */
export const upgradeArgs = (packages: readonly string[]): string[] => [
  ...['-q', '-y', ...keepsConfiguration, ...waitsForOthers, '-o', 'APT::Status-Fd=1'],
  ...verbOf(packages)
]

/**
 * `Inst NAME [BEFORE] (AFTER REPOSITORY [ARCHITECTURE])`, as a simulation prints them; a `Conf` without `Inst` is
 * a package that was unpacked earlier and is not configured yet.
 */
export function upgradesIn(output: string): Upgraded[] {
  const installs = [...output.matchAll(/^Inst (\S+) (?:\[([^\]]+)\] )?\((\S+)/gm)].map(
    ([, name = '', before = '', after = '']) => ({ name, before, after })
  )
  const known = new Set(installs.map(({ name }) => name))
  const halfDone = [...output.matchAll(/^Conf (\S+) \((\S+)/gm)]
    .map(([, name = '', after = '']) => ({ name, before: after, after }))
    .filter(({ name }) => !known.has(name))
  return [...installs, ...halfDone]
}

/** `Remv NAME …`: an upgrade that would take packages away is not ours to decide. */
export const removalsIn = (output: string): string[] =>
  [...output.matchAll(/^Remv (\S+)/gm)].map(([, name]) => name ?? '')

export const packageLines = (packages: readonly Upgraded[]): string =>
  packages.map(({ name, before, after }) => `${name} ${before || '-'} ${after}`).join('\n')

/** An earlier run was cut off between unpacking and configuring. */
export const wasInterrupted = (said: string): boolean => said.includes('dpkg --configure -a')
