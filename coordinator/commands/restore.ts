import { copyFile, open, rename, rm, stat } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { systemClock } from '../../common/clock.js'
import { syncDirectory } from '../../common/durable-file.js'
import { Fault } from '../../common/fault.js'
import { createLog } from '../../common/log.js'
import { loadConfig } from '../config.js'
import { standardConfig } from '../serve.js'
import { addEvent } from '../store/events.js'
import { markRestored } from '../store/stale-mark.js'
import { Store } from '../store/store.js'

const options = {
  config: { type: 'string', default: standardConfig },
  replace: { type: 'boolean', default: false }
} as const

/** Puts a backup in the place of the store. The coordinator must not run; nothing on hosts or storage changes. */
export async function restore(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [file] = positionals
  if (file === undefined) throw new Fault('INVALID_REQUEST', 'the backup FILE is needed')
  const config = loadConfig(values.config)
  const path = `${config.state_directory}/store.db`
  const log = createLog('drover-coordinator', 'error')
  const isThere = await stat(path).then(
    () => true,
    () => false
  )
  if (isThere && !values.replace) {
    throw new Fault('WRONG_STATE', `there is a store at ${path}; with --replace it is kept as ${path}.before`)
  }

  // A copy first: the backup stays as it is, and what cannot be opened never gets into place.
  const fresh = `${path}.restored`
  await removeStore(fresh)
  await copyFile(file, fresh)
  const store = await Store.open(fresh, log)
  const problems = store.integrity()
  if (problems.length > 0) throw new Fault('CORRUPT', `the backup is damaged: ${problems.join('; ')}`)
  store.transaction(tx => {
    markRestored(tx)
    const text = 'the store was restored from a backup'
    addEvent(
      tx,
      { severity: 'alert', kind: 'coordinator.restored', text, actor: 'local' },
      systemClock.wall()
    )
  })
  store.close()

  if (isThere) {
    // Opening it tells whether a coordinator runs, and folds its log into the file.
    const old = await Store.open(path, log).catch((error: unknown) => {
      if (Fault.is(error, 'CORRUPT')) return null
      throw error
    })
    old?.close()
    await rename(path, `${path}.before`)
    for (const part of ['-wal', '-shm']) await rm(`${path}${part}`, { force: true })
  }
  const written = await open(fresh, 'r+')
  await written.sync()
  await written.close()
  await rename(fresh, path)
  await syncDirectory(config.state_directory)
  process.stdout.write(
    `restored ${path} from ${file}\n` +
      'The hosts may have seen newer epochs than this store knows. Start the coordinator; if an alert says\n' +
      'that a host refuses its epoch, and no other coordinator runs, run\n' +
      '  drover-coordinator adopt-epoch\n' +
      'What runs on the hosts stays as it is.\n'
  )
  return 0
}

async function removeStore(path: string): Promise<void> {
  for (const part of ['', '-wal', '-shm']) await rm(`${path}${part}`, { force: true })
}
