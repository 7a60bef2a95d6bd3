import { readdir, rmdir, unlink } from 'node:fs/promises'
import type { AuditFinding } from './audit-storage-domain.js'
import type { FileLayout } from './file-layout.js'
import { exists, ifThere, isCode } from './files.js'
import { eraseFiles } from './format-storage-domain.js'
import { linkTo, type RunPaths } from './prepare-image.js'
import type { OnHost } from './storage-domain.js'

/** A directory's side of a host: links to it, and to the directory of each image that a VM uses. */
export class FilesOnHost implements OnHost {
  readonly #layout: FileLayout
  readonly #paths: RunPaths
  readonly #shared: boolean

  constructor(layout: FileLayout, paths: RunPaths, shared: boolean) {
    this.#layout = layout
    this.#paths = paths
    this.#shared = shared
  }

  async link(): Promise<void> {
    await linkTo(this.#layout.directory, this.#paths.storageDomain)
  }

  isLinked(): Promise<boolean> {
    return exists(this.#paths.storageDomain)
  }

  async unlink(): Promise<void> {
    await ifThere(unlink(this.#paths.storageDomain))
  }

  async prepare(imageId: string): Promise<string> {
    await linkTo(this.#layout.image(imageId), `${this.#paths.volumes}/${imageId}`)
    return `${this.#paths.volumes}/${imageId}`
  }

  async tearDown(imageId: string): Promise<void> {
    await ifThere(unlink(`${this.#paths.volumes}/${imageId}`))
    await rmdir(this.#paths.volumes).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT', 'ENOTEMPTY')) throw error
    })
  }

  async preparedImages(): Promise<string[]> {
    return (await ifThere(readdir(this.#paths.volumes))) ?? []
  }

  async audit(): Promise<AuditFinding[]> {
    const { ids, leases, inbox, outbox, xleases } = this.#layout
    const findings: AuditFinding[] = []
    for (const path of [ids, leases, inbox, outbox, ...(this.#shared ? [xleases] : [])]) {
      if (await exists(path)) continue
      const text = `the special file ${path.split('/').at(-1)} is missing`
      findings.push({ invariant: 'I5', object: this.#layout.directory.split('/').at(-1) ?? '', text })
    }
    return findings
  }

  async erase(): Promise<void> {
    await eraseFiles(this.#layout)
  }

  async close(): Promise<void> {}
}
