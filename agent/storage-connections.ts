import { chmod, mkdir, readFile, rename, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { isHost } from '../common/address-rules.js'
import { readIfThere, writeDurably } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import { derivedId } from '../common/ids.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { seconds } from '../common/units.js'
import type { BlockStorage } from '../storage/connections/block-storage.js'
import { isWwid } from '../common/address-rules.js'
import { isIqn } from '../storage/connections/iscsi-target.js'
import type { StorageConnection } from '../storage/connections/connection.js'
import { isNfsExport, nfsMountArguments } from '../storage/connections/nfs.js'
import { isDevicePath } from '../storage/connections/devices.js'
import { isBelow, mountPoints } from '../storage/connections/paths.js'
import type { StoragePlace } from '../storage/worker-settings.js'

const connectionSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('local'), path: z.string() }),
  z.object({ kind: z.literal('posix'), path: z.string() }),
  z.object({
    kind: z.literal('nfs'),
    export: z.string(),
    version: z.enum(['3', '4', '4.1', '4.2']).nullable(),
    timeo: z.number(),
    retrans: z.number()
  }),
  z.object({ kind: z.literal('block'), devices: z.array(z.string()) }),
  z.object({
    kind: z.literal('iscsi'),
    portals: z.array(z.object({ iqn: z.string(), host: z.string(), port: z.number(), group: z.number() })),
    luns: z.array(z.string())
  })
])
const attachedSchema = z.record(
  z.string(),
  z.object({
    connection: connectionSchema,
    /** This host's number in the lockspace while the storage domain is active here. */
    sanlockHostId: z.number().nullable()
  })
)

export type Attached = z.infer<typeof attachedSchema>[string]

export type StorageConnectionsOptions = {
  /** attached.json: what to reach again after a restart, without asking anybody. */
  file: string
  /** Below it lie the mounts we make. */
  mountDirectory: string
  allowedDirectories: readonly string[]
  block: BlockStorage
  run: Run
  log: Logger
}

const mountSpace = '3c9b5a2e-7a30-4ad5-9f5c-0e5c8f8d2a61'

/** Makes storage reachable, and remembers what is. Never looks below a mount: that is the workers' business. */
export class StorageConnections {
  readonly #options: StorageConnectionsOptions
  #attached = new Map<string, Attached>()
  #writing: Promise<void> = Promise.resolve()

  constructor(options: StorageConnectionsOptions) {
    this.#options = options
  }

  /** Reads what was attached before; connects nothing. A damaged file is set aside: the coordinator knows the rest. */
  async load(): Promise<void> {
    const { file, log } = this.#options
    const text = await readIfThere(file)
    if (text === null) return
    try {
      this.#attached = new Map(Object.entries(attachedSchema.parse(JSON.parse(text))))
    } catch (error) {
      log.error({ err: error, file }, 'list of attached storage domains is damaged; set aside')
      await rename(file, `${file}.damaged`)
    }
  }

  get attached(): ReadonlyMap<string, Attached> {
    return this.#attached
  }

  async remember(storageDomainId: string, attached: Attached | null): Promise<void> {
    if (attached === null) this.#attached.delete(storageDomainId)
    else this.#attached.set(storageDomainId, attached)
    const content = JSON.stringify(Object.fromEntries(this.#attached), null, 2)
    this.#writing = this.#writing.then(() => writeDurably(this.#options.file, content))
    await this.#writing
  }

  /** The directory in which the storage domain's own lies, mounted if need be, or its devices. */
  async connect(connection: StorageConnection, signal: AbortSignal): Promise<StoragePlace> {
    this.throwIfForbidden(connection)
    if (connection.kind === 'block') return { mount: '', devices: connection.devices }
    if (connection.kind === 'iscsi') {
      // Secrets are in the records of this host, if any are needed: `LoginIscsi` put them there.
      const settings = { chap: null, ioTimeout: seconds(10) }
      return { mount: '', devices: await this.#options.block.connect(connection, settings, signal) }
    }
    if (connection.kind !== 'nfs') return { mount: connection.path }
    const target = this.#mountPoint(connection.export)
    if (await this.#isMounted(target)) return { mount: target, asOwner: true }
    // sanlock's and QEMU's users pass through, whatever the service's umask takes away.
    await mkdir(target, { recursive: true })
    for (const passage of [dirname(target), target]) await chmod(passage, 0o755)
    await this.#options.run('mount', nfsMountArguments(connection, target), signal)
    this.#options.log.info({ export: connection.export, target }, 'mounted')
    return { mount: target, asOwner: true }
  }

  /** Lets go of a mount that nothing else uses. Lazily: a dead server must not keep us. */
  async disconnect(connection: StorageConnection, signal: AbortSignal): Promise<void> {
    if (connection.kind === 'iscsi') {
      const others = [...this.#attached.values()].flatMap(({ connection }) =>
        connection.kind === 'iscsi' ? connection.portals : []
      )
      return this.#options.block.disconnect(connection, others, signal)
    }
    if (connection.kind !== 'nfs' || this.#isUsed(connection.export)) return
    const target = this.#mountPoint(connection.export)
    if (!(await this.#isMounted(target))) return
    await this.#options.run('umount', ['-f', '-l', '--', target], signal)
    await rmdir(target)
    this.#options.log.info({ export: connection.export, target }, 'unmounted')
  }

  throwIfForbidden(connection: StorageConnection): void {
    const wrong = forbidden(connection, this.#options.allowedDirectories)
    if (wrong === null) return
    const field = fieldOf(connection)
    throw new Fault('INVALID_REQUEST', `${field} ${wrong}`, { violations: [{ field, description: wrong }] })
  }

  #isUsed(nfsExport: string): boolean {
    return [...this.#attached.values()].some(
      ({ connection }) => connection.kind === 'nfs' && connection.export === nfsExport
    )
  }

  #mountPoint(nfsExport: string): string {
    return `${this.#options.mountDirectory}/${derivedId(mountSpace, nfsExport)}`
  }

  async #isMounted(target: string): Promise<boolean> {
    return mountPoints(await readFile('/proc/self/mountinfo', 'utf8')).includes(target)
  }
}

function fieldOf({ kind }: StorageConnection): string {
  if (kind === 'block') return 'connection.block.devices'
  if (kind === 'iscsi') return 'connection.iscsi'
  return kind === 'nfs' ? 'connection.nfs.export' : `connection.${kind}.path`
}

function forbidden(connection: StorageConnection, allowed: readonly string[]): string | null {
  if (connection.kind === 'block') {
    return connection.devices.every(isDevicePath) ? null : 'must be paths of devices below /dev'
  }
  if (connection.kind === 'iscsi') {
    const good = connection.portals.every(({ iqn, host }) => isIqn(iqn) && isHost(host))
    return good && connection.luns.every(isWwid) ? null : 'must have names of targets, addresses and WWIDs'
  }
  if (connection.kind === 'nfs') {
    return isNfsExport(connection.export) ? null : 'must be HOST:/PATH of plain characters, without ".."'
  }
  return isBelow(connection.path, allowed) ? null : `must be below one of ${allowed.join(', ')}`
}
