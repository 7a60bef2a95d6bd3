import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { parseHostPort } from '../common/address-rules.js'
import type { Target } from '../common/client.js'
import { Fault } from '../common/fault.js'
import type { CallerRole } from '../common/policy.js'

/** Where to connect, as given by options, environment or file; the first that says something wins. */
export type Settings = {
  address?: string | undefined
  ca?: string | undefined
  cert?: string | undefined
  key?: string | undefined
  socket?: string | undefined
}

const names = ['address', 'ca', 'cert', 'key', 'socket'] as const
export const defaultSocket = '/run/drover/coordinator.sock'

/** Every setting with its meaning, for --help and the reference page. */
export const settingsSchema = z.strictObject({
  address: z.string().optional().describe('Coordinator to talk to, HOST:PORT. Without it: the unix socket.'),
  ca: z.string().optional().describe('File with the CA certificate of the installation, PEM.'),
  cert: z.string().optional().describe('File with your certificate, PEM.'),
  key: z.string().optional().describe('File with your private key, PEM.'),
  socket: z.string().optional().describe(`Unix socket of the coordinator. Default: ${defaultSocket}.`)
})

/** The file that is read when it exists. */
export function settingsFile(environment: NodeJS.ProcessEnv): string {
  const folder = environment['XDG_CONFIG_HOME'] ?? join(environment['HOME'] ?? homedir(), '.config')
  return environment['DROVER_CONFIG'] ?? join(folder, 'drover/config.toml')
}

/** Options before environment (DROVER_ADDRESS …) before file. */
export function readSettings(options: Settings, environment: NodeJS.ProcessEnv): Settings {
  const file = settingsFile(environment)
  const fromFile = existsSync(file) ? parseFile(file) : {}
  const settings: Settings = {}
  for (const name of names) {
    settings[name] = options[name] ?? environment[`DROVER_${name.toUpperCase()}`] ?? fromFile[name]
  }
  // A socket asked for by option is meant, whatever address a file names.
  if (options.socket !== undefined && options.address === undefined) delete settings.address
  return settings
}

/** What the client connects to. The server must be one of the expected roles of its installation. */
export function targetOf(settings: Settings, roles: readonly CallerRole[]): Target {
  const { address, ca, cert, key, socket = defaultSocket } = settings
  if (address === undefined) return { unixPath: socket.replace(/^unix:(\/\/)?/, '') }
  if (address.startsWith('unix:')) return { unixPath: address.replace(/^unix:(\/\/)?/, '') }
  if (!parseHostPort(address)) throw wrong('address', `must be HOST:PORT, not ${JSON.stringify(address)}`)
  if (ca === undefined) throw wrong('ca', 'is needed with an address: --ca FILE')
  if ((cert === undefined) !== (key === undefined))
    throw wrong('cert', 'and key go together: --cert FILE --key FILE')
  return {
    address,
    trust: read('ca', ca),
    ...(cert !== undefined &&
      key !== undefined && { identity: { certificate: read('cert', cert), key: read('key', key) } }),
    expect: ({ role }) => roles.includes(role)
  }
}

function parseFile(file: string): Settings {
  try {
    return settingsSchema.parse(parse(readFileSync(file, 'utf8')))
  } catch (error) {
    throw new Fault(
      'INVALID_REQUEST',
      `${file}: ${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}`
    )
  }
}

function read(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new Fault('INVALID_REQUEST', `--${name}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const wrong = (field: string, description: string) =>
  new Fault('INVALID_REQUEST', `${field} ${description}`, { violations: [{ field, description }] })
