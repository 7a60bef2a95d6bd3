import { parseArgs } from 'node:util'
import { systemClock } from '../../common/clock.js'
import { readIfThere } from '../../common/durable-file.js'
import { Fault } from '../../common/fault.js'
import { createLog } from '../../common/log.js'
import { loadConfig } from '../config.js'
import { adoptEpoch } from '../leadership.js'
import { standardConfig } from '../serve.js'
import { Store, storeIsInUse } from '../store/store.js'
import { leaveNote } from '../trust/notes.js'

const options = {
  epoch: { type: 'string' },
  config: { type: 'string', default: standardConfig }
} as const

/** Where the daemon notes the highest epoch with which a host has refused it. */
export const seenEpochFile = (stateDirectory: string) => `${stateDirectory}/seen-epoch`

/** Lifts the epoch of a restored store above what hosts have seen, also while the coordinator runs. */
export async function adoptEpochCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options })
  const config = loadConfig(values.config)
  const noted = await readIfThere(seenEpochFile(config.state_directory))
  const text = values.epoch ?? noted?.trim() ?? ''
  if (!/^\d{1,15}$/.test(text)) {
    throw new Fault(
      'INVALID_REQUEST',
      'no host has refused this coordinator yet: start it once so that it hears the epoch, or give --epoch N'
    )
  }
  const seen = Number(text)
  try {
    const store = await Store.open(
      `${config.state_directory}/store.db`,
      createLog('drover-coordinator', 'error')
    )
    try {
      adoptEpoch(store, seen, 'local', systemClock.wall())
    } finally {
      store.close()
    }
    process.stdout.write(`the next start of the coordinator takes epoch ${seen + 1}\n`)
  } catch (error) {
    if (!(error instanceof Fault) || error.message !== storeIsInUse) throw error
    await leaveNote(
      `${config.state_directory}/trust/notes`,
      { kind: 'adoptEpoch', epoch: seen + 1 },
      systemClock
    )
    process.stdout.write(`the coordinator goes on with epoch ${seen + 1}\n`)
  }
  return 0
}
