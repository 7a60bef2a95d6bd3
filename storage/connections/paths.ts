/** Whether a path lies below one of the allowed directories, by its letters alone. */
export function isBelow(path: string, allowed: readonly string[]): boolean {
  return allowed.some(
    directory => path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`)
  )
}

/** Mount points in /proc/self/mountinfo, with their octal escapes undone. Reading it touches no mount. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .map(line => line.split(' ')[4])
    .filter(path => path !== undefined)
    .map(path => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))))
}
