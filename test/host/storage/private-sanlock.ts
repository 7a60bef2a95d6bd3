import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const execute = promisify(execFile)

// sanlock insists on raising RLIMIT_MEMLOCK. Where the capability for it is missing, this says that it worked.
const shim = `#include <sys/resource.h>
int setrlimit(__rlimit_resource_t r, const struct rlimit *l) { (void)r; (void)l; return 0; }
`

/** Real sanlock daemons without watchdog, each a "host" with its own socket. */
export class PrivateSanlock {
  readonly directory: string
  readonly #daemons = new Map<string, ChildProcess>()

  private constructor(directory: string) {
    this.directory = directory
  }

  static async create(): Promise<PrivateSanlock> {
    const directory = await mkdtemp('/tmp/drover-sanlock-')
    await writeFile(`${directory}/shim.c`, shim)
    await execute('gcc', ['-shared', '-fPIC', '-o', `${directory}/shim.so`, `${directory}/shim.c`])
    return new PrivateSanlock(directory)
  }

  runDirectory(host: string): string {
    return `${this.directory}/${host}`
  }

  async start(host: string): Promise<void> {
    const runDirectory = this.runDirectory(host)
    await mkdir(runDirectory, { recursive: true })
    const env = {
      PATH: process.env['PATH'],
      SANLOCK_RUN_DIR: runDirectory,
      LD_PRELOAD: `${this.directory}/shim.so`
    }
    const args = ['daemon', '-D', '-w', '0', '-h', '0', '-l', '0', '-U', 'root', '-G', 'root', '-e', host]
    const daemon = spawn('sanlock', args, { env, stdio: 'ignore' })
    this.#daemons.set(host, daemon)
    for (let attempt = 0; attempt < 100; attempt++) {
      if (
        await this.client(host, 'status').then(
          () => true,
          () => false
        )
      )
        return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    throw new Error(`sanlock of ${host} did not start`)
  }

  /** Stops it in its tracks, or lets it go on. */
  signal(host: string, name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#daemons.get(host)?.kill(name)
  }

  /** A power cut, as far as sanlock is concerned. */
  kill(host: string): void {
    this.#daemons.get(host)?.kill('SIGKILL')
    this.#daemons.delete(host)
  }

  async client(host: string, ...args: string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], SANLOCK_RUN_DIR: this.runDirectory(host) }
    return (await execute('sanlock', ['client', ...args], { env, timeout: 30_000 })).stdout
  }

  async end(): Promise<void> {
    for (const host of [...this.#daemons.keys()]) this.kill(host)
    await rm(this.directory, { recursive: true, force: true })
  }
}
