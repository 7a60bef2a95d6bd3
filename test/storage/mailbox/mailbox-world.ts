import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { pino } from 'pino'
import type { Test } from 'tap'
import { systemClock } from '../../../common/clock.js'
import { bytes, MiB } from '../../../common/units.js'
import type { ExtendVolume, ExtendedVolume } from '../../../storage/extend-volumes.js'
import { areaSize } from '../../../storage/format/mailbox.js'
import { DirectPages } from '../../../storage/mailbox/pages.js'
import { MailboxPost } from '../../../storage/mailbox/post.js'
import { MailboxServe } from '../../../storage/mailbox/serve.js'
import { ExtendQueue } from '../../../storage/manager/extend-queue.js'

export const never = new AbortController().signal
export const storageDomainId = '8adbc85e-e554-4ae0-b318-8a5465fe5fe1'
export const volumeOf = (n: number) => `d772f1c6-3ebb-43c3-a42e-${String(n).padStart(12, '0')}`
export const silent = pino({ level: 'silent' })

/** A mailbox in files, and volumes that are numbers in a map. */
export async function mailboxWorld(t: Test) {
  const root = await mkdtemp('/tmp/drover-mailbox-')
  for (const name of ['inbox', 'outbox']) {
    await writeFile(`${root}/${name}`, '')
    await truncate(`${root}/${name}`, 16 * areaSize)
  }
  const closing: Array<() => Promise<void>> = []
  t.teardown(async () => {
    for (const close of closing.toReversed()) await close()
    await rm(root, { recursive: true, force: true })
  })
  const pages = async (name: 'inbox' | 'outbox') => {
    const opened = await DirectPages.open(`${root}/${name}`)
    closing.push(() => opened.close())
    return opened
  }
  const sizes = new Map<string, number>()
  const batches: ExtendVolume[][] = []
  const extend = async (volumes: readonly ExtendVolume[]): Promise<ExtendedVolume[]> => {
    batches.push([...volumes])
    return volumes.map(({ volumeId, to }) => {
      const before = sizes.get(volumeId)
      if (before === undefined) {
        return { volumeId, size: bytes(0), failure: { reason: 'VOLUME_NOT_FOUND', text: 'no such volume' } }
      }
      sizes.set(volumeId, Math.max(before, to))
      return { volumeId, size: bytes(Math.max(before, to)), failure: null }
    })
  }
  const inbox = await pages('inbox')
  const outbox = await pages('outbox')

  const manager = async (work = extend) => {
    const queue = new ExtendQueue(work)
    const serve = new MailboxServe({
      ...{ storageDomainId, inbox: await pages('inbox'), outbox: await pages('outbox') },
      extend: (volumeId, mebibytes) => queue.add(volumeId, MiB(mebibytes)),
      ...{ clock: systemClock, log: silent }
    })
    await serve.begin()
    const end = new AbortController()
    const running = {
      serve,
      queue,
      done: Promise.resolve(),
      stop: async () => (end.abort(), await running.done)
    }
    closing.push(() => running.stop())
    return {
      ...running,
      run: () => void (running.done = serve.run(end.signal)),
      signal: end.signal,
      stop: running.stop
    }
  }
  const host = async (sanlockHostId: number) => {
    const own = { inbox: await pages('inbox'), outbox: await pages('outbox') }
    const post = await MailboxPost.open({ ...own, sanlockHostId, clock: systemClock, log: silent })
    closing.push(() => post.close())
    return post
  }
  const ask = (n: number, sizeMiB = 5120) => ({ storageDomainId, volumeId: volumeOf(n), sizeMiB })
  return { inbox, outbox, sizes, batches, extend, manager, host, ask }
}

/** Looks until it is so. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500 && !(await isSo()); i++) await new Promise(resolve => setTimeout(resolve, 10))
}
