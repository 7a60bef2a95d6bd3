import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { DataPrograms } from '../../../agent/data-programs.js'
import { Packages, type UpgradeResult } from '../../../agent/upgrade/packages.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { commandRunner } from '../../../common/run.js'

// The real apt and dpkg, on a small system of its own: two packages in a repository, installed below a folder.

const log = pino({ level: 'silent' })
const run = commandRunner(log)
const never = new AbortController().signal

async function buildPackage(folder: string, name: string, version: string, postinst = ''): Promise<void> {
  const tree = `${folder}/build/${name}-${version}`
  await mkdir(`${tree}/DEBIAN`, { recursive: true })
  await mkdir(`${tree}/usr/share/${name}`, { recursive: true })
  const control = { Package: name, Version: version, Architecture: 'all', Maintainer: 'T <t@example.com>' }
  const lines = Object.entries({ ...control, Description: 'for a test' }).map(
    ([key, value]) => `${key}: ${value}\n`
  )
  await writeFile(`${tree}/DEBIAN/control`, lines.join(''))
  if (postinst !== '') await writeFile(`${tree}/DEBIAN/postinst`, `#!/bin/sh\n${postinst}\n`, { mode: 0o755 })
  await writeFile(`${tree}/usr/share/${name}/version`, version)
  await run(
    'dpkg-deb',
    ['--root-owner-group', '-b', tree, `${folder}/repo/${name}_${version}_all.deb`],
    never
  )
}

async function world(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'drover-apt-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const root = `${folder}/root`
  for (const path of [
    'etc/apt/apt.conf.d',
    'etc/apt/preferences.d',
    'var/lib/dpkg/info',
    'var/lib/dpkg/updates'
  ])
    await mkdir(`${root}/${path}`, { recursive: true })
  for (const path of ['lists/partial', 'archives/partial', 'log'])
    await mkdir(`${folder}/${path}`, { recursive: true })
  await mkdir(`${folder}/repo`)
  await writeFile(`${root}/var/lib/dpkg/status`, '')
  await writeFile(`${root}/etc/apt/sources.list`, `deb [trusted=yes] file:${folder}/repo ./\n`)
  const conf = `${folder}/apt.conf`
  await writeFile(
    conf,
    `Dir::Etc "${root}/etc/apt"; Dir::Etc::parts "${root}/etc/apt/apt.conf.d"; Dir::State "${folder}";
Dir::State::status "${root}/var/lib/dpkg/status"; Dir::State::lists "${folder}/lists"; Dir::Cache "${folder}";
Dir::Log "${folder}/log"; APT::Sandbox::User "root"; APT::Architecture "amd64"; APT::Architectures { "amd64"; };
DPkg::Options { "--root=${root}"; "--force-not-root"; "--force-script-chrootless"; };
DPkg::Run-Directory "/"; Acquire::Languages "none"; APT::Install-Recommends "false";`
  )
  const index = async () => {
    const { stdout } = await run('dpkg-scanpackages', ['-m', `${folder}/repo`], never).catch(() => ({
      stdout: ''
    }))
    await writeFile(`${folder}/repo/Packages`, stdout.replaceAll(`${folder}/repo/`, './'))
  }
  const directory = `${folder}/upgrades`
  const packages = new Packages({
    ...{ run, directory, environment: { APT_CONFIG: conf } },
    programs: new DataPrograms({ directory, run, clock: systemClock, log, asUnits: false }),
    readFacts: async () => ({ hasMarker: false, kernel: '6.1', installedKernels: ['6.1'] })
  })
  const install = async (name: string) => {
    const env = { APT_CONFIG: conf, DEBIAN_FRONTEND: 'noninteractive' }
    await run('apt-get', ['-q', '-y', 'update'], never, { env })
    await run('apt-get', ['-q', '-y', 'install', name], never, { env })
  }
  const task = { signal: never, progress: () => {}, log }
  const upgrade = (id: string, isDryRun = false, names: string[] = []): Promise<UpgradeResult> =>
    packages.upgrade(id, { packages: names, isRefreshed: true, isDryRun }, task)
  const version = (name: string) => readFile(`${root}/usr/share/${name}/version`, 'utf8')
  return { folder, index, install, upgrade, version }
}

t.test('packages are upgraded by apt, and what was done is told', async t => {
  const { folder, index, install, upgrade, version } = await world(t)
  await buildPackage(folder, 'alpha', '1.0')
  await buildPackage(folder, 'beta', '1.0')
  await index()
  await install('alpha')
  await install('beta')
  t.strictSame(await upgrade('nothing'), { packages: '', reboot: '' }, 'nothing to do is no failure')
  await buildPackage(folder, 'alpha', '2.0')
  await buildPackage(folder, 'beta', '2.0')
  await index()
  t.equal((await upgrade('dry', true)).packages, 'alpha 1.0 2.0\nbeta 1.0 2.0')
  t.equal(await version('alpha'), '1.0', 'a dry run changes nothing')
  t.equal((await upgrade('one', false, ['alpha'])).packages, 'alpha 1.0 2.0')
  t.strictSame([await version('alpha'), await version('beta')], ['2.0', '1.0'], 'only what was named')
  t.equal((await upgrade('all')).packages, 'beta 1.0 2.0')
  t.equal(await version('beta'), '2.0')
  t.equal((await upgrade('all')).packages, 'beta 1.0 2.0', 'the same request says the same')
})

t.test('a package that cannot be configured fails the upgrade, and the next one goes on with it', async t => {
  const { folder, index, install, upgrade } = await world(t)
  await buildPackage(folder, 'alpha', '1.0')
  await index()
  await install('alpha')
  await buildPackage(folder, 'alpha', '2.0', `[ -e ${folder}/repaired ]`)
  await index()
  const fault: unknown = await upgrade('fails').catch((error: unknown) => error)
  t.ok(Fault.is(fault, 'COMMAND_FAILED'), String(fault))
  await writeFile(`${folder}/repaired`, '')
  await upgrade('again')
  const { stdout } = await run(
    'dpkg-query',
    ['--root', `${folder}/root`, '-W', '-f', '${Status}', 'alpha'],
    never
  )
  t.equal(stdout, 'install ok installed')
})
