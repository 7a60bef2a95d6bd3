import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '../root.js'
import { poll } from './lab.js'
import type { World } from './world.js'

const shared = '/lab/shared/storage'
const mode = '/run/storage-mode'

/** Storage that one host alone can lose, open files too: a file system stands between it and what all hosts share. */
export class LosableStorage {
  readonly #world: World
  readonly #host: string

  constructor(world: World, host: string) {
    this.#world = world
    this.#host = host
  }

  /** In maintenance, when nothing of the storage is open there. It stays until the host boots again. */
  async place(): Promise<void> {
    const { lab } = this.#world
    await copyFile(join(root, 'test/host/fault-mount.py'), join(lab.files, 'fault-mount.py'))
    await this.#world.maintain(this.#host, 'leave')
    await this.fares('ok')
    const mount = `mkdir -p /lab/behind; mount --bind ${shared} /lab/behind
      systemd-run --quiet --unit=fault-mount python3 /lab/files/fault-mount.py /lab/behind ${shared} ${mode}`
    await lab.shell(this.#host, mount)
    const isThere = `grep -q ' ${shared} fuse' /proc/mounts`
    await poll('the mount', 20, async () => lab.shell(this.#host, isThere))
    await this.#world.maintain(this.#host, 'enter')
    await this.#world.whenStorageActive()
  }

  fares(how: 'ok' | 'eio'): Promise<string> {
    return this.#world.lab.shell(this.#host, `echo ${how} >${mode}`)
  }
}
