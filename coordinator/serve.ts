import { parseArgs } from 'node:util'
import { createLog } from '../common/log.js'
import { loadConfig } from './config.js'
import { startCoordinator } from './coordinator.js'

export const standardConfig = '/etc/drover/coordinator.toml'

/** Runs the daemon until it is told to end. */
export async function serve(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { config: { type: 'string', default: standardConfig } } })
  const config = loadConfig(values.config)
  const log = createLog('drover-coordinator', config.log_level)
  const coordinator = await startCoordinator(config, log)
  process.on('SIGUSR2', () => log.info({ dump: coordinator.dump() }, 'dump'))
  await new Promise(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve)
  })
  log.info('coordinator stops')
  await coordinator.stop()
  log.info('coordinator ended')
  process.exit(0)
}
