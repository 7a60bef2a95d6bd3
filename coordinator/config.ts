import { readdirSync, readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { z, type ZodType } from 'zod'
import { Fault, type Violation } from '../common/fault.js'

export type Setting = { schema: ZodType; standard: unknown; sentence: string; bounds: string }

const setting = <T>(schema: ZodType<T>, standard: T, bounds: string, sentence: string) => ({
  schema,
  standard,
  bounds,
  sentence
})
const number = (standard: number, least: number, most: number, sentence: string) =>
  setting(z.number().int().min(least).max(most), standard, `${least} to ${most}`, sentence)
const path = z.string().regex(/^\/[^\0]*$/)
const place = (standard: string, sentence: string) => setting(path, standard, 'absolute path', sentence)
const address = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/)

/**
 * Every setting of /etc/drover/coordinator.toml and coordinator.d/*.toml with its default, bounds and one sentence:
 * the settings page of the documentation is made from this table.
 */
export const coordinatorSettings = {
  listen: setting(address, '0.0.0.0:7443', 'HOST:PORT', 'Where agents enrol and remote clients connect.'),
  advertise: setting(
    z.union([address, z.literal('')]),
    '',
    'HOST:PORT; empty means the first address of this machine and the port of `listen`',
    'Where agents reach the coordinator: told to whoever creates a host.'
  ),
  names: setting(
    z.array(z.string().min(1).max(253)).max(50),
    [],
    'host names and IP addresses',
    'Names in the certificate of the coordinator, beside those of this machine.'
  ),
  log_level: setting(
    z.enum(['error', 'warn', 'info', 'debug', 'trace']),
    'info',
    'error, warn, info, debug or trace',
    'How much is logged.'
  ),
  state_directory: place('/var/lib/drover/coordinator', 'The store, the CA and the key of the secrets.'),
  backup_directory: place('/var/lib/drover/coordinator/backups', 'Where backups of the store are written.'),
  socket: place('/run/drover/coordinator.sock', 'Unix socket for the administrator of this machine.'),
  certificate_seconds: number(
    2_592_000,
    10,
    31_536_000,
    'Life of the certificates of hosts; renewed after two thirds of it.'
  ),
  token_seconds: number(3600, 10, 86_400, 'Life of an enrolment token.'),
  event_days: number(90, 1, 3650, 'How long events are kept.'),
  audit_days: number(730, 1, 36_500, 'How long audit records are kept.'),
  job_days: number(30, 1, 3650, 'How long finished jobs are kept.')
} satisfies Record<string, Setting>

type Settings = typeof coordinatorSettings
export type CoordinatorConfig = {
  [K in keyof Settings]: Settings[K] extends { schema: ZodType<infer T> } ? T : never
}

/** Defaults, then the file, then each file of coordinator.d beside it, in order. Unknown settings are refused. */
export function loadConfig(file: string): CoordinatorConfig {
  const folder = `${file.replace(/\/[^/]*$/, '')}/coordinator.d`
  const files = [file, ...listed(folder).map(name => `${folder}/${name}`)]
  return checkConfig(Object.assign({}, ...files.map(readToml)) as Record<string, unknown>)
}

export function checkConfig(given: Record<string, unknown>): CoordinatorConfig {
  const violations: Violation[] = []
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(coordinatorSettings, name)) {
      violations.push({ field: name, description: 'is no setting' })
    }
  }
  const entries = Object.entries(coordinatorSettings).map(([name, { schema, standard, bounds }]) => {
    const read = schema.safeParse(given[name] ?? standard)
    if (!read.success) violations.push({ field: name, description: `must be ${bounds}` })
    return [name, read.data]
  })
  if (violations.length > 0) {
    const all = violations.map(({ field, description }) => `${field} ${description}`).join('; ')
    throw new Fault('INVALID_REQUEST', `configuration: ${all}`, { violations })
  }
  return Object.fromEntries(entries) as CoordinatorConfig
}

function readToml(file: string): Record<string, unknown> {
  const text = readIfThere(file)
  try {
    return parse(text)
  } catch (error) {
    throw new Fault('INVALID_REQUEST', `${file} is not TOML`, { cause: error })
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter(name => name.endsWith('.toml'))
      .toSorted()
  } catch {
    return []
  }
}
