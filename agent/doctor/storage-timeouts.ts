import { readFile } from 'node:fs/promises'
import { orAborted, within } from '../../common/deadline.js'
import type { Run } from '../../common/run.js'
import { seconds, type Seconds } from '../../common/units.js'
import { type IscsiSession, readSessions } from '../../storage/connections/iscsi-sessions.js'
import {
  type MultipathConfig,
  parseMultipathConfig,
  queueingSeconds,
  rightNoPathRetry
} from '../../storage/connections/multipath.js'
import { failure, ok, warning, type Finding } from './finding.js'

/** Time-outs below us. Writes that are stuck must end before sanlock lets another host take the leases. */
export type StorageTimeouts = {
  /** The I/O timeout of sanlock that they are held against; the standard one, as storage domains may differ. */
  ioTimeout: Seconds
  /** Null where multipathd does not run. */
  multipath: MultipathConfig | null
  nfsMounts: Array<{ target: string; options: string[] }>
  sessions: IscsiSession[]
}

export async function gatherStorageTimeouts(run: Run, signal: AbortSignal): Promise<StorageTimeouts> {
  const limit = within(seconds(10), signal)
  const asked = orAborted(run('multipathd', ['show', 'config'], limit), limit)
  const [multipath, mounts, sessions] = await Promise.all([
    asked.then(
      ({ stdout }) => (stdout.includes('defaults') ? parseMultipathConfig(stdout) : null),
      () => null
    ),
    readFile('/proc/self/mountinfo', 'utf8').catch(() => ''),
    readSessions()
  ])
  return { ioTimeout: seconds(10), multipath, nfsMounts: parseNfsMounts(mounts), sessions }
}

/** NFS mounts of ours with the options that the kernel shows. PURE. */
export function parseNfsMounts(mountinfo: string): StorageTimeouts['nfsMounts'] {
  return mountinfo.split('\n').flatMap(line => {
    const [before = '', after = ''] = line.split(' - ')
    const target = before.split(' ')[4] ?? ''
    const [type = '', , options = ''] = after.split(' ')
    return /^nfs4?$/.test(type) && target.startsWith('/run/drover/')
      ? [{ target, options: options.split(',') }]
      : []
  })
}

/** One finding for each kind of storage that this host has. PURE. */
export function judgeStorageTimeouts(facts: StorageTimeouts): Finding[] {
  return [
    ...(facts.multipath === null ? severalPaths(facts) : [multipath(facts.ioTimeout, facts.multipath)]),
    ...(facts.nfsMounts.length === 0 ? [] : [nfs(facts)]),
    ...(facts.sessions.length === 0 ? [] : [iscsi(facts)])
  ]
}

function multipath(ioTimeout: Seconds, config: MultipathConfig): Finding {
  const name = 'multipath'
  const { noPathRetry, userFriendlyNames } = config
  const interval = config.pollingInterval ?? 5
  const right = rightNoPathRetry(ioTimeout, interval)
  const fix = `set no_path_retry ${right} in defaults and overrides of /etc/multipath.conf; multipathd reconfigure`
  const queueing = queueingSeconds(config)
  if (queueing === null)
    return failure(
      name,
      'multipath keeps I/O for ever when all paths are lost: it may reach a disk that another host uses by then',
      fix
    )
  if (queueing > 8 * ioTimeout)
    return failure(
      name,
      `multipath keeps I/O for ${queueing} s when all paths are lost, longer than the ${8 * ioTimeout} s of sanlock`,
      fix
    )
  if (queueing < 4 * ioTimeout)
    return warning(
      name,
      `multipath gives I/O up ${queueing} s after the last path (no_path_retry ${noPathRetry ?? 'is not set'}): short outages pause VMs`,
      fix
    )
  if (userFriendlyNames === 'yes')
    return warning(
      name,
      'multipath gives names like mpatha, which differ between hosts',
      'set user_friendly_names no in /etc/multipath.conf; multipathd reconfigure'
    )
  return ok(name, `multipath keeps I/O for ${queueing} s when all paths are lost`)
}

/** Several sessions to one target without multipath: the kernel shows one LUN as several disks. */
function severalPaths({ sessions }: StorageTimeouts): Finding[] {
  const iqns = sessions.map(({ iqn }) => iqn)
  const twice = iqns.find((iqn, index) => iqns.indexOf(iqn) !== index)
  if (twice === undefined) return []
  return [
    warning(
      'multipath',
      `several paths lead to ${twice}, and multipathd does not run: one path alone is used`,
      'apt install multipath-tools; systemctl enable --now multipathd (docs/operators/san.md)'
    )
  ]
}

function nfs({ ioTimeout, nfsMounts }: StorageTimeouts): Finding {
  const name = 'nfs-timeouts'
  const wrong = nfsMounts.flatMap(({ target, options }) => {
    const problem = nfsProblem(ioTimeout, options)
    return problem === null ? [] : [`${target}: ${problem}`]
  })
  if (wrong.length === 0) return ok(name, 'NFS mounts end in an error in time')
  return warning(
    name,
    wrong.join('; '),
    `deactivate the storage domain here, and set timeo to at least ${ioTimeout * 10} (drover storage-domain show)`
  )
}

function nfsProblem(ioTimeout: Seconds, options: readonly string[]): string | null {
  const value = (key: string) => Number(options.find(option => option.startsWith(`${key}=`))?.split('=')[1])
  const [timeo, retrans] = [value('timeo') / 10, value('retrans')]
  if (options.includes('hard')) return 'a hard mount: I/O to a dead server never ends'
  if (timeo < ioTimeout) return `timeo is ${timeo} s, shorter than the I/O timeout of ${ioTimeout} s`
  // The waits grow by timeo each: timeo × (1 + 2 + … + retrans).
  const longest = (timeo * retrans * (retrans + 1)) / 2
  return longest > 8 * ioTimeout
    ? `I/O to a dead server ends after ${longest} s, later than the ${8 * ioTimeout} s of sanlock`
    : null
}

function iscsi({ ioTimeout, sessions }: StorageTimeouts): Finding {
  const name = 'iscsi-timeouts'
  const lost = sessions.filter(({ state }) => state !== 'LOGGED_IN')
  if (lost.length > 0)
    return warning(
      name,
      `sessions are lost: ${lost.map(({ iqn, host, port }) => `${iqn} at ${host}:${port}`).join(', ')}`,
      'check the portal and the network; the session comes back by itself'
    )
  const slow = sessions.filter(({ recoverySeconds }) => recoverySeconds > 8 * ioTimeout)
  if (slow.length === 0) return ok(name, `${sessions.length} iSCSI sessions give I/O up in time`)
  return failure(
    name,
    `I/O of a lost session is kept for ${slow[0]?.recoverySeconds} s, longer than the ${8 * ioTimeout} s of sanlock`,
    'log out and in again by `drover host iscsi-login`, which sets it; sessions made by hand keep their own settings'
  )
}
