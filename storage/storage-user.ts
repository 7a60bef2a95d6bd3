import { ovirtOwner } from './files.js'

// An NFS server takes the root of a client for nobody, unless it is told not to: then only the owner of the files may
// write them. On this host the same process still passes every directory, as root does.

const kept = '+dac_override,+dac_read_search,+chown,+fowner'

/** The words that start a program as the owner of what lies on storage; none where we are not root ourselves. */
export function asStorageUser(uid = process.geteuid?.()): string[] {
  const mayBecome = uid === 0 || uid === ovirtOwner.uid
  return mayBecome ? becoming(kept) : []
}

/** The same inside a sandbox, which has taken everything but these powers away. */
export const asStorageUserApart = becoming('+dac_override')
export const powersToBecome = ['CAP_DAC_OVERRIDE', 'CAP_SETUID', 'CAP_SETGID']

function becoming(powers: string): string[] {
  const { uid, gid } = ovirtOwner
  const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
  // sanlock starts programs by their whole path.
  return ['/usr/bin/setpriv', ...user, `--inh-caps=${powers}`, `--ambient-caps=${powers}`, '--']
}
