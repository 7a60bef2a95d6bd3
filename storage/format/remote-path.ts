// The name under which storage is reached, `server:/path` or a path, in the one form that REMOTE_PATH keeps.

/** Double slashes and a trailing slash removed; an IPv6 address stays in its brackets. */
export function normalRemotePath(remote: string): string {
  const colon = serverEnd(remote)
  return colon < 0
    ? normalPath(remote)
    : `${remote.slice(0, colon + 1)}${normalPath(remote.slice(colon + 1))}`
}

/** Where the server's name ends; -1 for a plain path. */
function serverEnd(remote: string): number {
  if (remote.startsWith('/')) return -1
  if (remote.startsWith('[')) {
    const bracket = remote.indexOf(']:')
    return bracket < 0 ? -1 : bracket + 1
  }
  return remote.indexOf(':')
}

function normalPath(path: string): string {
  const isAbsolute = path.startsWith('/')
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else if (!isAbsolute) parts.push(part)
  }
  const joined = parts.join('/')
  if (isAbsolute) return `/${joined}`
  return joined === '' ? (path === '' ? '' : '.') : joined
}

/** VDSM's directory name of a mount. Ours are named by connection id; this is for comparing and adopting. */
export function vdsmMountName(normalRemote: string): string {
  return normalRemote.replaceAll('_', '__').replaceAll('/', '_')
}
