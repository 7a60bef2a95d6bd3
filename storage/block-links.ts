import { mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import type { BlockGroup } from './block-group.js'
import { exists, ifThere, isCode } from './files.js'
import { isSpecialVolume } from './format/leases-layout.js'
import { linkTo, type RunPaths } from './prepare-image.js'
import type { Place } from './storage-domain.js'

// Who uses a logical volume on this host is told by links, which outlive a worker:
//
//   <run>/volumes/<storageDomainId>/<imageId>/<volumeId>   a VM may have it open
//   <run>/work/<storageDomainId>/<imageId>/<volumeId>      an operation reaches it; bare backing names resolve there
//
// A volume with no link is deactivated; a template's is in the directories of several images.

export class BlockLinks {
  readonly #group: BlockGroup
  readonly #paths: RunPaths
  readonly #workDirectory: string
  #turn: Promise<unknown> = Promise.resolve()

  constructor(group: BlockGroup, paths: RunPaths, workDirectory: string) {
    this.#group = group
    this.#paths = paths
    this.#workDirectory = workDirectory
  }

  work(imageId: string, volumeId: string): string {
    return `${this.#workDirectory}/${imageId}/${volumeId}`
  }

  /** One at a time: whether a volume is still linked is asked and acted upon as one. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  async reach(places: readonly Place[], signal: AbortSignal): Promise<void> {
    await this.alone(() => this.#link(this.#workDirectory, places, signal))
  }

  async prepare(places: readonly Place[], signal: AbortSignal): Promise<void> {
    await this.alone(() => this.#link(this.#paths.volumes, places, signal))
  }

  async #link(root: string, places: readonly Place[], signal: AbortSignal): Promise<void> {
    await this.#group.activate([...new Set(places.map(({ volumeId }) => volumeId))], signal)
    for (const { imageId, volumeId } of places) {
      await mkdir(`${root}/${imageId}`, { recursive: true, mode: 0o755 })
      await linkTo(this.#group.activator.path(volumeId), `${root}/${imageId}/${volumeId}`)
    }
  }

  /** A new leaf of an image that a VM has open is the VM's at once. */
  async prepareToo(imageId: string, volumeId: string): Promise<void> {
    const directory = `${this.#paths.volumes}/${imageId}`
    if (!(await exists(directory))) return
    await linkTo(this.#group.activator.path(volumeId), `${directory}/${volumeId}`)
  }

  async letGo(imageId: string): Promise<void> {
    await this.alone(() => this.#unlinkAll(this.#workDirectory, imageId))
  }

  async tearDown(imageId: string): Promise<void> {
    await this.alone(() => this.#unlinkAll(this.#paths.volumes, imageId))
  }

  async prepared(): Promise<string[]> {
    return (await ifThere(readdir(this.#paths.volumes))) ?? []
  }

  async #unlinkAll(root: string, imageId: string): Promise<void> {
    const directory = `${root}/${imageId}`
    const names = (await ifThere(readdir(directory))) ?? []
    for (const name of names) await ifThere(unlink(`${directory}/${name}`))
    await ifThere(rmdir(directory))
    await rmdir(root).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT', 'ENOTEMPTY')) throw error
    })
    await this.#deactivateUnlinked(names)
  }

  /** Before a volume is removed: no link leads to it. */
  async forget(imageId: string, volumeId: string): Promise<void> {
    await this.alone(async () => {
      for (const root of [this.#workDirectory, this.#paths.volumes]) {
        await ifThere(unlink(`${root}/${imageId}/${volumeId}`))
        for (const directory of [`${root}/${imageId}`, root]) {
          await rmdir(directory).catch((error: unknown) => {
            if (!isCode(error, 'ENOENT', 'ENOTEMPTY')) throw error
          })
        }
      }
    })
  }

  /** Whatever is active without a link: an operation ended there, or its worker. What is open is left. */
  async deactivateStrays(signal: AbortSignal): Promise<void> {
    await this.alone(async () => {
      signal.throwIfAborted()
      await this.#deactivateUnlinked((await this.#group.activator.active()).filter(isVolume))
    })
  }

  async #deactivateUnlinked(names: readonly string[]): Promise<void> {
    const linked = new Set([
      ...(await namesBelow(this.#workDirectory)),
      ...(await namesBelow(this.#paths.volumes))
    ])
    const unlinked = names.filter(name => !linked.has(name))
    if (unlinked.length === 0) return
    try {
      await this.#group.activator.deactivate(unlinked, never)
    } catch (error) {
      // It stays active without harm; the next sweep tries again.
      if (!Fault.is(error, 'COMMAND_FAILED')) throw error
    }
  }
}

const never = new AbortController().signal
const isVolume = (name: string) => !isSpecialVolume(name)

async function namesBelow(root: string): Promise<string[]> {
  const images = (await ifThere(readdir(root))) ?? []
  const names = await Promise.all(
    images.map(async image => (await ifThere(readdir(`${root}/${image}`))) ?? [])
  )
  return names.flat()
}
