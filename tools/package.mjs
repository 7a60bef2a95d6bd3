// Builds the Debian packages: drover-common (the program, its libraries, the CLI), drover-agent, drover-coordinator.
//   build/drover-common_VERSION_amd64.deb …
// Only dpkg-deb is needed. `npm run package` builds dist/ first.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

// One at a time: two labs may both find the packages stale. Debian's flock (util-linux) is always there.
if (!process.env['DROVER_PACKAGE_LOCK']) {
  mkdirSync('build', { recursive: true })
  const command = ['build/package.lock', process.execPath, ...process.argv.slice(1)]
  const env = { ...process.env, DROVER_PACKAGE_LOCK: '1' }
  const { status } = spawnSync('flock', ['-w', '170', ...command], { stdio: 'inherit', env })
  process.exit(status ?? 1)
}

const { agentSettings } = await import('../dist/agent/config.js')
const { coordinatorSettings } = await import('../dist/coordinator/config.js')
const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const staging = resolve('build/packages')
const findNode = readFileSync('packaging/find-node.sh', 'utf8')
const maintainer = 'The Drover authors <drover@localhost>'

const packages = {
  'drover-common': {
    depends: ['libc6', 'libstdc++6', 'libgcc-s1'],
    recommends: ['nodejs (>= 20.19)'],
    about:
      'Drover: program, libraries and command line\n Needs Node.js 20.19 or later, from wherever it comes.',
    conffiles: [],
    fill: fillCommon
  },
  'drover-agent': {
    depends: [
      `drover-common (= ${version})`,
      ...[
        'libvirt-daemon-system (>= 9.0)',
        'libvirt-daemon-driver-qemu',
        'libvirt-clients',
        'libvirt-sanlock'
      ],
      ...['sanlock', 'qemu-system-x86', 'qemu-utils', 'qemu-block-extra', 'lvm2', 'iproute2', 'nftables'],
      ...['bubblewrap', 'systemd (>= 252)', 'init-system-helpers']
    ],
    recommends: ['fence-agents', 'nfs-common', 'chrony | time-daemon', 'ovmf'],
    suggests: ['open-iscsi', 'multipath-tools', 'swtpm', 'virt-v2v', 'nbdkit'],
    about: 'Drover: agent of a host that runs virtual machines\n Works through libvirt, QEMU and sanlock.',
    conffiles: ['/etc/drover/agent.toml', '/etc/drover/libvirtd.conf'],
    fill: fillAgent
  },
  'drover-coordinator': {
    depends: [
      `drover-common (= ${version})`,
      'systemd (>= 252)',
      'init-system-helpers',
      'passwd',
      'util-linux'
    ],
    recommends: ['chrony | time-daemon'],
    about:
      'Drover: coordinator\n Schedules virtual machines on hosts and restarts them elsewhere when a host is lost.',
    conffiles: ['/etc/drover/coordinator.toml'],
    fill: fillCoordinator
  }
}

function put(root, path, from, mode = 0o644) {
  const to = join(root, path)
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to)
  chmodSync(to, mode)
}

function fillCommon(root) {
  const home = join(root, 'usr/lib/drover')
  const unwanted = new Set(['test', 'tools'])
  cpSync('dist', join(home, 'dist'), {
    recursive: true,
    filter: path => !unwanted.has(relative('dist', path).split('/')[0] ?? '')
  })
  copyLibraries(join(home, 'node_modules'))
  writeFileSync(
    join(home, 'package.json'),
    `${JSON.stringify({ name: 'drover', version, type: 'module', private: true }, null, 2)}\n`
  )
  put(root, 'usr/bin/drover', 'packaging/common/drover.sh', 0o755)
  put(root, 'usr/lib/tmpfiles.d/drover-common.conf', 'systemd/drover-common.tmpfiles.conf')
  put(root, 'usr/share/doc/drover-common/copyright', 'LICENSE')
  if (existsSync('README.md')) put(root, 'usr/share/doc/drover-common/README.md', 'README.md')
}

// The production packages as npm has laid them out, without what only builds or explains them.
function copyLibraries(to) {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { encoding: 'utf8' })
  const folders = listed
    .split('\n')
    .map(folder => relative(resolve('node_modules'), folder.trim()))
    .filter(folder => folder !== '' && !folder.startsWith('..'))
  for (const folder of new Set(folders)) {
    const from = join('node_modules', folder)
    cpSync(from, join(to, folder), {
      recursive: true,
      dereference: true,
      filter: path => isNeeded(folder, relative(from, path))
    })
  }
}

const buildOnly = {
  'better-sqlite3':
    /^(deps|src|build\/(deps|Release\/(obj|obj\.target|\.deps|test_extension\.node)|.*[Mm]akefile.*|.*\.mk))$/
}

function isNeeded(folder, path) {
  if (/(^|\/)node_modules(\/|$)/.test(path)) return false // nested ones are in the list themselves
  if (buildOnly[folder]?.test(path)) return false
  if (/\.(map|md|markdown|ts|cts|mts|c|cc|cpp|h|gyp|gypi|o|a)$/.test(path)) return /license/i.test(path)
  return !/^(test|tests|docs|example|examples|\.github|benchmark|benchmarks)$/.test(path)
}

function fillAgent(root) {
  put(root, 'lib/systemd/system/drover-agent.service', 'systemd/drover-agent.service')
  put(root, 'lib/systemd/system/drover-jobs.slice', 'systemd/drover-jobs.slice')
  put(root, 'lib/systemd/system/libvirtd.service.d/50-drover.conf', 'systemd/libvirtd-drover.conf')
  put(root, 'usr/lib/sysctl.d/60-drover.conf', 'systemd/sysctl.conf')
  put(root, 'usr/lib/udev/rules.d/95-drover-storage.rules', 'systemd/drover-storage.udev.rules')
  put(root, 'usr/lib/drover/libvirt/qemu.conf.fragment', 'systemd/qemu.conf.fragment')
  put(root, 'usr/lib/drover/libvirt/qemu-sanlock.conf.fragment', 'systemd/qemu-sanlock.conf.fragment')
  put(root, 'usr/lib/drover/configure-host', 'packaging/agent/configure-host', 0o755)
  put(root, 'usr/share/doc/drover-agent/lvmlocal.conf', 'systemd/lvmlocal.conf')
  put(root, 'usr/share/doc/drover-agent/copyright', 'LICENSE')
  put(root, 'usr/sbin/drover-agent', 'packaging/agent/drover-agent.sh', 0o755)
  put(root, 'usr/sbin/fence_drover_agent', 'packaging/agent/fence_drover_agent', 0o755)
  // libvirt refuses to start when the folder that qemu.conf names is not there.
  mkdirSync(join(root, 'etc/pki/drover-migrate'), { recursive: true, mode: 0o755 })
  settingsFile(
    root,
    'etc/drover/agent.toml',
    'Settings of the Drover host agent; files in conf.d/*.toml beside this one come after it.',
    agentSettings
  )
  put(root, 'etc/drover/libvirtd.conf', 'systemd/libvirtd.conf')
}

function fillCoordinator(root) {
  put(root, 'lib/systemd/system/drover-coordinator.service', 'systemd/drover-coordinator.service')
  put(root, 'usr/lib/sysusers.d/drover-coordinator.conf', 'systemd/drover-coordinator.sysusers.conf')
  put(root, 'usr/lib/tmpfiles.d/drover-coordinator.conf', 'systemd/drover-coordinator.tmpfiles.conf')
  put(root, 'usr/share/doc/drover-coordinator/copyright', 'LICENSE')
  put(root, 'usr/sbin/drover-coordinator', 'packaging/coordinator/drover-coordinator.sh', 0o755)
  settingsFile(
    root,
    'etc/drover/coordinator.toml',
    'Settings of the Drover coordinator; files in coordinator.d/*.toml beside this one come after it.',
    coordinatorSettings
  )
}

function control(name, root) {
  const { depends, recommends = [], suggests = [], about, conffiles } = packages[name]
  const folder = join(root, 'DEBIAN')
  mkdirSync(folder)
  const lines = [
    `Package: ${name}`,
    `Version: ${version}`,
    'Architecture: amd64',
    'Section: admin',
    'Priority: optional',
    `Maintainer: ${maintainer}`,
    `Installed-Size: ${Math.ceil(size(root) / 1024)}`,
    `Depends: ${depends.join(', ')}`,
    ...(recommends.length > 0 ? [`Recommends: ${recommends.join(', ')}`] : []),
    ...(suggests.length > 0 ? [`Suggests: ${suggests.join(', ')}`] : []),
    `Description: ${about}`
  ]
  writeFileSync(join(folder, 'control'), `${lines.join('\n')}\n`)
  if (conffiles.length > 0) writeFileSync(join(folder, 'conffiles'), `${conffiles.join('\n')}\n`)
  for (const script of ['preinst', 'postinst', 'prerm', 'postrm']) {
    const from = join('packaging', name.replace('drover-', ''), script)
    if (!existsSync(from)) continue
    const text = readFileSync(from, 'utf8').replace('# @find-node@\n', findNode)
    writeFileSync(join(folder, script), text, { mode: 0o755 })
  }
}

function size(path) {
  const entry = statSync(path)
  if (!entry.isDirectory()) return entry.size
  return readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 4096)
}

// What the packages are made of, as one number. The libraries are named by the lock file.
function fingerprint() {
  const hash = createHash('sha256')
  const add = path => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).toSorted()) add(join(path, name))
    else hash.update(`${path}\0`).update(readFileSync(path))
  }
  for (const path of ['dist', 'packaging', 'systemd', 'package-lock.json', 'tools/package.mjs']) add(path)
  return hash.digest('hex')
}

// A configuration file with every setting as a comment: what it means, and its default.
function settingsFile(root, path, opening, settings) {
  const lines = Object.entries(settings).map(
    ([name, { sentence, bounds, standard }]) =>
      `# ${sentence} (${bounds})\n#${name} = ${JSON.stringify(standard)}\n`
  )
  const to = join(root, path)
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to, `# ${opening}\n\n${lines.join('\n')}`)
}

const fileOf = name => `build/${name}_${version}_amd64.deb`
const keyFile = 'build/packages.key'
const key = fingerprint()
const isFresh =
  existsSync(keyFile) &&
  readFileSync(keyFile, 'utf8') === key &&
  Object.keys(packages).every(name => existsSync(fileOf(name)))
if (process.argv.includes('--if-stale') && isFresh) process.exit(0)

process.umask(0o022)
rmSync(keyFile, { force: true })
rmSync(staging, { recursive: true, force: true })
for (const [name, { fill }] of Object.entries(packages)) {
  const root = join(staging, name)
  mkdirSync(root, { recursive: true })
  fill(root)
  control(name, root)
  const file = fileOf(name)
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z6', '--build', root, file], { stdio: 'pipe' })
  console.log(`${file} ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`)
}
rmSync(staging, { recursive: true, force: true })
writeFileSync(keyFile, key)
