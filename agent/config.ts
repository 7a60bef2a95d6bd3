import { z } from 'zod'
import {
  checkSettings,
  loadSettings,
  number,
  setting,
  type Configuration,
  type Setting
} from '../common/config.js'

const flag = (sentence: string) => setting(z.boolean(), false, 'true or false', sentence)
const path = z.string().regex(/^\/[^\0]*$/, 'must be an absolute path')
const directory = (standard: string, sentence: string) => setting(path, standard, 'absolute path', sentence)
const address = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'must be HOST:PORT')

/**
 * Every setting of /etc/drover/agent.toml and conf.d/*.toml with its default, bounds and one sentence: the
 * settings page of the documentation is made from this table.
 */
export const agentSettings = {
  listen: setting(
    address,
    '0.0.0.0:7444',
    'HOST:PORT',
    'Where the coordinator and the other agents connect.'
  ),
  log_level: setting(
    z.enum(['error', 'warn', 'info', 'debug', 'trace']),
    'info',
    'error, warn, info, debug or trace',
    'How much is logged.'
  ),
  state_directory: directory('/var/lib/drover/agent', 'Identity, certificates and the ledger.'),
  run_directory: directory(
    '/run/drover',
    'The unix socket, links to prepared volumes and migration sockets.'
  ),
  libvirt_socket: directory('/run/libvirt/libvirt-sock', 'Where libvirtd listens.'),
  allowed_directories: setting(
    z.array(path),
    ['/srv', '/mnt', '/media', '/var/lib/drover/storage'],
    'absolute paths',
    'Directories below which local and POSIX storage domains may lie.'
  ),
  import_directory: directory('/var/lib/drover/import', 'Files below it can be imported as images.'),
  migration_address: setting(
    z.string(),
    '',
    'host name or IP address; empty means the address of the enrolment',
    'Address on which this host receives the memory of migrating VMs.'
  ),
  migration_first_port: number(49152, 1024, 65000, 'First of the ports on which memory is received.'),
  migration_ports: number(64, 1, 500, 'How many such ports there are.'),
  migration_tls: setting(
    z.boolean(),
    true,
    'true or false',
    'Whether the memory of migrating VMs travels under TLS; both hosts must agree.'
  ),
  migration_tls_directory: directory(
    '/etc/pki/drover-migrate',
    'Where the host certificate is put for QEMU: migrate_tls_x509_cert_dir of qemu.conf.'
  ),
  migrations_at_once: number(
    8,
    1,
    16,
    'Most VMs that migrate away, and that arrive, at one time. The coordinator finds out how many are best.'
  ),
  thin_policy: setting(
    z.enum(['adaptive', 'conservative']),
    'adaptive',
    'adaptive or conservative',
    'How thin disks on block storage grow: by measured rate and extend time, or by 2560 MiB at 20 % as oVirt does.'
  ),
  thin_least_chunk_mib: number(
    512,
    128,
    65536,
    'The least by which a thin disk is extended, in MiB; adaptive only.'
  ),
  thin_initial_mib: number(
    2560,
    128,
    65536,
    'What a new thin disk on block storage begins with, or its size where that is less, in MiB.'
  ),
  thin_most_chunk_mib: number(
    16384,
    128,
    65536,
    'The most by which a thin disk is extended at once, in MiB; adaptive only.'
  ),
  manager_idle_seconds: number(
    30,
    5,
    3600,
    'How long this host stays the manager of a block storage domain when no disk asks for room.'
  ),
  shutdown_seconds: number(120, 10, 3600, 'How long a guest may take to shut down before the task fails.'),
  ovmf_code: directory('/usr/share/OVMF/OVMF_CODE_4M.fd', 'UEFI firmware for guests.'),
  ovmf_variables: directory('/usr/share/OVMF/OVMF_VARS_4M.fd', 'Template for the variables of UEFI guests.'),
  fence_agents_directory: directory('/usr/sbin', 'Where the fence_* programs lie.'),
  accelerator: setting(
    z.enum(['probe', 'kvm', 'tcg']),
    'probe',
    'probe, kvm or tcg',
    'Whether guests run on KVM; "probe" tries it at the first start after boot.'
  ),
  unsafe_ha_without_watchdog: flag(
    'Allow VMs with a lease on a host without a watchdog device: a host that hangs may then run a VM twice. For tests.'
  ),
  unsafe_without_sanlock: flag(
    'Work on storage domains without the sanlock daemon: nothing then keeps two hosts apart. For tests.'
  ),
  unsafe_shared_filesystem: flag(
    'Migrate VMs whose disks lie on a file system that libvirt does not know as shared. For tests on one machine.'
  )
} satisfies Record<string, Setting>

/** Settings that give up some safety, by name, as everyone shall see them. */
export const unsafeSettings = (config: AgentConfig) =>
  Object.entries(config).flatMap(([name, value]) =>
    name.startsWith('unsafe_') && value === true ? [name] : []
  )

export type AgentConfig = Configuration<typeof agentSettings>

/** Defaults, then the file, then each file of conf.d beside it. */
export const loadConfig = (file: string): AgentConfig => loadSettings(agentSettings, file, 'conf.d')

export const checkConfig = (given: Record<string, unknown>): AgentConfig =>
  checkSettings(agentSettings, given)
