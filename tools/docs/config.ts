import { agentSettings } from '../../agent/config.js'
import { coordinatorSettings } from '../../coordinator/config.js'
import { settingsSchema } from '../../cli/settings.js'
import { page, table } from './markdown.js'

type Setting = { standard: unknown; sentence: string; bounds: string }

/** Every setting of the daemons and of the command line. */
export function configPage(): string {
  return page(
    'Settings',
    'agent/config.ts, coordinator/config.ts and cli/settings.ts',
    `Files are TOML. Later files win over earlier ones, setting by setting. An unknown setting or a value out of
its bounds stops the start, with all mistakes named at once. Settings whose name begins with \`unsafe_\` give up some
protection; they are for tests, and every place that shows the host names those that are on.`,
    `## drover-agent

\`/etc/drover/agent.toml\`, then \`/etc/drover/conf.d/*.toml\` in order.

${settingsTable(agentSettings)}

## drover-coordinator

\`/etc/drover/coordinator.toml\`, then \`/etc/drover/coordinator.d/*.toml\` in order.

${settingsTable(coordinatorSettings)}

## drover

\`~/.config/drover/config.toml\`, or the file that \`DROVER_CONFIG\` names. Options come before environment variables,
these before the file.

${table(
  ['setting', 'option', 'environment', 'meaning'],
  Object.entries(settingsSchema.shape).map(([name, schema]) => {
    return [`\`${name}\``, `\`--${name}\``, `\`DROVER_${name.toUpperCase()}\``, schema.description ?? '']
  })
)}`
  )
}

function settingsTable(settings: Record<string, Setting>): string {
  const rows = Object.entries(settings).map(([name, { standard, sentence, bounds }]) => {
    return [`\`${name}\``, `\`${JSON.stringify(standard)}\``, bounds, sentence]
  })
  return table(['setting', 'default', 'values', 'meaning'], rows)
}
