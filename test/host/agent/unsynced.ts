// What a power cut could take: read from the system calls of a program, as strace tells them.

const string = /"((?:[^"\\]|\\.)*)"/.source
const handle = /\d+<([^>]*)>/.source
const at = /(?:AT_FDCWD|\d+)(?:<([^>]*)>)?/.source
const line = (call: string, args: string) => new RegExp(`^(?:${call})\\(${args}`)

const opened = new RegExp(`^openat\\(${at}, ${string}, ([A-Z_|]+)[^)]*\\) = \\d+<([^>]*)>`)
const written = line('write|writev|pwrite64|pwritev|ftruncate|fallocate|copy_file_range', handle)
const synced = line('fsync|fdatasync', handle)
const renamed = new RegExp(`^rename(?:at2?)?\\((?:${at}, )?${string}, (?:${at}, )?${string}`)
const made = new RegExp(`^(?:mkdir|symlink|link|mknod)(?:at)?\\(.*?${string}(?:, 0\\d+)?\\) = 0`)
const removed = new RegExp(`^(?:unlink|rmdir|unlinkat)\\((?:${at}, )?${string}`)

const parentOf = (path: string) => path.slice(0, path.lastIndexOf('/')) || '/'

/** Files with contents, and directories with entries, that are in the cache alone. */
export class Unsynced {
  readonly files = new Set<string>()
  readonly directories = new Map<string, string>()
  readonly #syncing = new Set<string>()
  readonly #unfinished = new Map<string, string>()
  readonly #mayReturn: (path: string) => boolean

  /** `mayReturn`: whether a file that is removed does no harm when a power cut brings it back. */
  constructor(mayReturn: (path: string) => boolean) {
    this.#mayReturn = mayReturn
  }

  /** One line of `strace -f -y`. */
  read(text: string): void {
    const [, pid = '', call = ''] = /^(\d+)\s+(.*)$/.exec(text) ?? []
    const cut = / <unfinished \.\.\.>$/.exec(call)
    if (cut) return void this.#unfinished.set(pid, call.slice(0, cut.index))
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(call)
    const whole = resumed ? (this.#unfinished.get(pid) ?? '') + (resumed[1] ?? '') : call
    // What failed did nothing.
    if (!/ = -1 E/.test(whole)) this.#apply(whole)
  }

  #apply(call: string): void {
    const open = opened.exec(call)
    if (open) return this.#open(open[4] ?? '', open[3] ?? '')
    const write = written.exec(call)?.[1]
    if (write !== undefined) return void (this.#syncing.has(write) || this.files.add(write))
    const sync = synced.exec(call)?.[1]
    if (sync !== undefined) {
      this.files.delete(sync)
      this.directories.delete(sync)
      return
    }
    const [, , from = '', , to = ''] = renamed.exec(call) ?? []
    if (to !== '') {
      if (this.files.delete(from)) this.files.add(to)
      this.#changed(from)
      return this.#changed(to)
    }
    const gone = removed.exec(call)?.[2]
    if (gone !== undefined) {
      this.files.delete(gone)
      return this.#mayReturn(gone) ? undefined : this.#changed(gone)
    }
    const fresh = made.exec(call)?.[1]
    if (fresh !== undefined) this.#changed(fresh)
  }

  #open(path: string, flags: string): void {
    if (flags.includes('O_SYNC') || flags.includes('O_DSYNC')) this.#syncing.add(path)
    else this.#syncing.delete(path)
    if (flags.includes('O_CREAT')) this.#changed(path)
    if (flags.includes('O_TRUNC')) this.files.add(path)
  }

  #changed(path: string): void {
    this.directories.set(parentOf(path), path)
  }

  /** What lies below a folder, in words. */
  below(folder: string): string[] {
    const within = (path: string) => path.startsWith(folder)
    return [
      ...[...this.files].filter(within).map(path => `contents of ${path}`),
      ...[...this.directories].filter(([path]) => within(path)).map(([, entry]) => `entry ${entry}`)
    ]
  }
}
