import { z } from 'zod'
import {
  checkSettings,
  loadSettings,
  number,
  setting,
  type Configuration,
  type Setting
} from '../common/config.js'

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
  cluster_seconds: number(
    60,
    1,
    3600,
    'How often clusters are looked after: broken affinity, balance, power saving, reservation.'
  ),
  event_days: number(90, 1, 3650, 'How long events are kept.'),
  audit_days: number(730, 1, 36_500, 'How long audit records are kept.'),
  job_days: number(30, 1, 3650, 'How long finished jobs are kept.')
} satisfies Record<string, Setting>

export type CoordinatorConfig = Configuration<typeof coordinatorSettings>

/** Defaults, then the file, then each file of coordinator.d beside it. */
export const loadConfig = (file: string): CoordinatorConfig =>
  loadSettings(coordinatorSettings, file, 'coordinator.d')

export const checkConfig = (given: Record<string, unknown>): CoordinatorConfig =>
  checkSettings(coordinatorSettings, given)
