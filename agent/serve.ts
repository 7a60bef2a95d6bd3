import { parseArgs } from 'node:util'
import { createLog } from '../common/log.js'
import { startAgent } from './agent.js'
import { loadConfig } from './config.js'

export const standardConfig = '/etc/drover/agent.toml'

/** Runs the daemon until it is told to end. */
export async function serve(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { config: { type: 'string', default: standardConfig } } })
  const config = loadConfig(values.config)
  const log = createLog('drover-agent', config.log_level)
  const agent = await startAgent(config, log)
  process.on('SIGUSR2', () => log.info({ dump: agent.dump() }, 'dump'))
  await new Promise(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve)
  })
  log.info('agent stops')
  await agent.stop()
  log.info('agent ended')
  // Nothing that still hangs somewhere may keep the program alive.
  process.exit(0)
}
