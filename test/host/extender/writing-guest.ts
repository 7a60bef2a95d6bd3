import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../../root.js'

const execute = promisify(execFile)
const clusterSectors = 4096
const first = clusterSectors

/**
 * A guest that really writes, by its firmware and virtio, and as far as it is told: so it really stops where there
 * is no room. A cluster of 2 MiB is taken up by each sector it writes, so a GiB of the volume is written soon and costs little memory.
 */
export class WritingGuest {
  readonly #socket: string
  readonly #vmId: string
  readonly #device: string
  readonly #directory: string
  #to = first

  private constructor(socket: string, vmId: string, diskId: string, directory: string) {
    this.#socket = socket
    this.#vmId = vmId
    this.#device = `/machine/peripheral/ua-${diskId}/virtio-backend`
    this.#directory = directory
  }

  /** In a VM that runs with an empty disk. */
  static async boot(socket: string, vmId: string, diskId: string): Promise<WritingGuest> {
    const directory = await mkdtemp(join(tmpdir(), 'drover-guest-'))
    const guest = new WritingGuest(socket, vmId, diskId, directory)
    const [object, program] = [join(directory, 'guest.o'), join(directory, 'guest.bin')]
    await execute('as', ['--32', '-o', object, `${root}/test/host/extender/writing-guest.s`])
    await execute('ld', ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary', '-o', program, object])
    await guest.#monitor(`write -s ${program} 0 512`)
    await guest.#monitor('write -P 0 512 1024')
    await guest.#virsh('reset', vmId)
    return guest
  }

  /** How much of the volume is taken up when it is there, in MiB. */
  get wanted(): number {
    return ((this.#to - first) / clusterSectors) * 2
  }

  async writeOn(mebibytes: number): Promise<void> {
    await this.writeTo(this.wanted + mebibytes)
  }

  async writeTo(mebibytes: number): Promise<void> {
    this.#to = Math.ceil(mebibytes / 2) * clusterSectors + first
    const sector = Buffer.alloc(512)
    sector.writeUInt32LE(this.#to)
    const file = join(this.#directory, 'control')
    await writeFile(file, sector)
    await this.#monitor(`write -s ${file} 512 512`)
  }

  /** `running (booted)`, `paused (I/O error)`: what QEMU says of itself. */
  async state(): Promise<string> {
    return (await this.#virsh('domstate', '--reason', this.#vmId)).trim()
  }

  /** Whether it has written all that it was told to. Read past QEMU. */
  async hasWritten(device: string): Promise<boolean> {
    const last = this.#to - clusterSectors
    return (await sectorOf(device, last)).readUInt32LE() === last
  }

  /** What of it the disk does not hold, and whether a write ever failed. */
  async problems(device: string): Promise<string[]> {
    const upTo = this.#to
    const problems = (await sectorOf(device, 2)).readUInt32LE() === 0 ? [] : ['the guest saw an I/O error']
    const step = clusterSectors * Math.max(1, Math.floor((upTo - first) / clusterSectors / 40))
    for (let lba = first; lba < upTo; lba += step) {
      const found = (await sectorOf(device, lba)).readUInt32LE()
      if (found !== lba) problems.push(`sector ${lba} is lost`)
    }
    return problems
  }

  async end(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }

  #monitor(command: string): Promise<string> {
    return this.#virsh('qemu-monitor-command', this.#vmId, '--hmp', `qemu-io -d ${this.#device} "${command}"`)
  }

  async #virsh(...args: string[]): Promise<string> {
    const uri = `qemu+unix:///system?socket=${this.#socket}`
    return (await execute('virsh', ['-c', uri, ...args], { timeout: 60_000 })).stdout
  }
}

async function sectorOf(device: string, lba: number): Promise<Buffer> {
  const read = `read -v ${lba * 512} 16`
  const { stdout } = await execute('qemu-io', ['-U', '-r', '-n', '-f', 'qcow2', '-c', read, device])
  const [, bytes = ''] = /^[0-9a-f]+:\s+((?:[0-9a-f]{2} ?){16})/m.exec(stdout) ?? []
  return Buffer.from(bytes.replaceAll(' ', ''), 'hex')
}
