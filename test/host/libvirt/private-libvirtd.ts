import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

// PID 1 of the namespace: reaps orphaned QEMUs (a shell does) and starts libvirtd again whenever it ends. A
// file named `hold` keeps it from doing so.
const init = `
cd "$1"
for d in run etc lib log cache lock; do mkdir -p "$1/$d"; done
mount --bind "$1/run" /run/libvirt
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$1/cache" /var/cache/libvirt
# Consoles are locked here, with process ids that mean something in this namespace only.
mount --bind "$1/lock" /var/lock
while [ ! -e "$1/end" ]; do
  [ -e "$1/hold" ] || libvirtd --config /etc/libvirt/libvirtd.conf --pid-file "$1/libvirtd.pid" >"$1/out" 2>&1
  sleep 0.02
done
`

const directories = [
  '/run/libvirt',
  '/etc/libvirt',
  '/var/lib/libvirt',
  '/var/log/libvirt',
  '/var/cache/libvirt'
]

const qemuConf = `
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
keepalive_interval = 3
keepalive_count = 3
`

/** A real libvirtd with directories, mounts and process ids of its own. It runs as long as the test. */
export class PrivateLibvirtd {
  readonly root: string
  readonly #init: ChildProcess

  /** Up, and answering on its socket. `conf` goes into libvirtd.conf, `qemu` into qemu.conf. */
  static async start({ conf = '', qemu = '' } = {}): Promise<PrivateLibvirtd> {
    const root = await mkdtemp(join(tmpdir(), 'drover-libvirtd-'))
    await chmod(root, 0o755)
    await mkdir(join(root, 'etc'))
    await writeFile(join(root, 'etc/qemu.conf'), qemuConf + qemu)
    const common = `unix_sock_group = "root"\nauth_unix_rw = "none"\nhost_uuid = "${randomUUID()}"\n`
    await writeFile(join(root, 'etc/libvirtd.conf'), common + conf)
    for (const directory of directories) await mkdir(directory, { recursive: true })
    const daemon = new PrivateLibvirtd(root)
    await daemon.answering()
    return daemon
  }

  private constructor(root: string) {
    this.root = root
    const namespaces = ['-m', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc']
    this.#init = spawn('unshare', [...namespaces, 'sh', '-c', init, 'sh', root], { stdio: 'inherit' })
  }

  get socket(): string {
    return join(this.root, 'run/libvirt-sock')
  }

  /** Waits until the socket takes connections. */
  async answering(): Promise<void> {
    for (let tries = 0; tries < 1500; tries++) {
      if (await takesConnections(this.socket)) return
      await setTimeout(20)
    }
    throw new Error(`libvirtd does not answer: ${await readFile(join(this.root, 'out'), 'utf8')}`)
  }

  /** Process ids, as seen from outside, of libvirtd or of the guests' QEMUs. */
  async pids(command: 'libvirtd' | 'qemu-system-x86'): Promise<number[]> {
    const all = await descendants(this.#init.pid ?? 0)
    const named = await Promise.all(all.map(async pid => [pid, await commandOf(pid)] as const))
    return named.filter(([, name]) => name === command).map(([pid]) => pid)
  }

  /** The QEMU of one guest. */
  async qemuOf(uuid: string): Promise<number> {
    for (const pid of await this.pids('qemu-system-x86')) {
      if ((await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(uuid)) return pid
    }
    throw new Error(`no QEMU of ${uuid}`)
  }

  /** libvirtd dies at once; it is started again by itself. Guests live on. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    for (const pid of await this.pids('libvirtd')) process.kill(pid, signal)
  }

  /** Everything ends, guests too, and nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#init, 'exit')
    const [first] = await descendants(this.#init.pid ?? 0)
    if (first !== undefined) process.kill(first, 'SIGKILL')
    this.#init.kill('SIGKILL')
    await gone
    await rm(this.root, { recursive: true, force: true, maxRetries: 20 })
  }
}

async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const children = text.trim().split(' ').filter(Boolean).map(Number)
  return [...children, ...(await Promise.all(children.map(descendants))).flat()]
}

const commandOf = async (pid: number) => (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()

function takesConnections(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection(path)
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
