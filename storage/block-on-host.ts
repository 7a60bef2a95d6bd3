import { mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import type { AuditFinding } from './audit-storage-domain.js'
import type { BlockGroup } from './block-group.js'
import type { BlockLinks } from './block-links.js'
import { eraseGroup } from './erase-block-storage-domain.js'
import { exists, ifThere } from './files.js'
import { linkTo, type RunPaths } from './prepare-image.js'
import type { OnHost, Place } from './storage-domain.js'

const linked = ['metadata', 'ids', 'leases', 'xleases', 'inbox', 'outbox']

/** A VG's side of a host: mappings, and links to them under the paths that are the same on every host. */
export class BlockOnHost implements OnHost {
  readonly audit: () => Promise<AuditFinding[]>
  readonly #group: BlockGroup
  readonly #links: BlockLinks
  readonly #paths: RunPaths

  constructor(group: BlockGroup, links: BlockLinks, paths: RunPaths, audit: () => Promise<AuditFinding[]>) {
    this.#group = group
    this.#links = links
    this.#paths = paths
    this.audit = audit
  }

  get #special(): string {
    return `${this.#paths.storageDomain}/dom_md`
  }

  async link(): Promise<void> {
    await mkdir(this.#special, { recursive: true, mode: 0o755 })
    for (const name of linked) await linkTo(this.#group.activator.path(name), `${this.#special}/${name}`)
  }

  isLinked(): Promise<boolean> {
    return exists(this.#paths.storageDomain)
  }

  async unlink(): Promise<void> {
    for (const name of (await ifThere(readdir(this.#special))) ?? []) await unlink(`${this.#special}/${name}`)
    await ifThere(rmdir(this.#special))
    await ifThere(rmdir(this.#paths.storageDomain))
  }

  async prepare(imageId: string, chain: readonly Place[], signal: AbortSignal): Promise<string> {
    await this.#links.prepare(chain, signal)
    return `${this.#paths.volumes}/${imageId}`
  }

  async tearDown(imageId: string): Promise<void> {
    await this.#links.tearDown(imageId)
  }

  preparedImages(): Promise<string[]> {
    return this.#links.prepared()
  }

  async erase(signal: AbortSignal): Promise<void> {
    await eraseGroup(this.#group, signal)
  }

  async close(): Promise<void> {
    await this.#group.activator.deactivate(await this.#group.activator.active(), never)
  }
}

const never = new AbortController().signal
