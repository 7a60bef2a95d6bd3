import t from 'tap'
import { Fault } from '../../../common/fault.js'
import {
  packageLines,
  removalsIn,
  simulateArgs,
  upgradeArgs,
  upgradesIn
} from '../../../agent/upgrade/apt.js'
import { rebootReason } from '../../../agent/upgrade/reboot.js'
import { rebootHost } from '../../../agent/upgrade/reboot-host.js'
import { percentIn } from '../../../storage/data-program.js'

const never = new AbortController().signal
const simulation = `Reading package lists...
The following packages will be upgraded:
  drover-agent drover-common
Inst drover-common [0.1.0] (0.2.0 drover:1.0/stable [amd64]) []
Inst drover-agent [0.1.0] (0.2.0 drover:1.0/stable [amd64])
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian:12.12/oldstable [amd64])
Conf drover-common (0.2.0 drover:1.0/stable [amd64])
Conf halfway (3.0 drover:1.0/stable [amd64])
`

t.test('what a simulation of apt says is read: upgraded, new and half-configured packages', async t => {
  t.equal(
    packageLines(upgradesIn(simulation)),
    [
      'drover-common 0.1.0 0.2.0',
      'drover-agent 0.1.0 0.2.0',
      'linux-image-6.1.0-40-amd64 - 6.1.153-1',
      'halfway 3.0 3.0'
    ].join('\n')
  )
  t.strictSame(removalsIn('Remv qemu-system-x86 [7.2]\nInst x (1 y)\n'), ['qemu-system-x86'])
  t.strictSame(upgradesIn('0 upgraded, 0 newly installed'), [])
})

t.test('names of packages are never options, and only installed ones are upgraded', async t => {
  t.strictSame(simulateArgs(['a']).slice(-4), ['install', '--only-upgrade', '--', 'a'])
  t.strictSame(upgradeArgs([]).slice(-2), ['upgrade', '--with-new-pkgs'])
})

t.test('progress of apt is read, the last line counts', async t => {
  t.equal(percentIn('pmstatus:dpkg-exec:10.5:Running dpkg\npmstatus:libc6:amd64:62.5:Unpacking\n'), 62.5)
  t.equal(percentIn('    (12.34/100%)\r'), 12.34)
})

const quiet = { hasMarker: false, kernel: '6.1.0-9-amd64', installedKernels: ['6.1.0-9-amd64'] }
const cases = [
  ['nothing of weight is new', quiet, ['qemu-system-x86'], ''],
  ['a new kernel', quiet, ['linux-image-6.1.0-40-amd64'], 'new: linux-image-6.1.0-40-amd64'],
  ['a new C library', quiet, ['libc6', 'bash'], 'new: libc6'],
  ['the mark', { ...quiet, hasMarker: true }, [], 'the host says so (/run/reboot-required)'],
  [
    'an earlier upgrade brought a kernel that does not run yet',
    { ...quiet, installedKernels: ['6.1.0-10-amd64', '6.1.0-9-amd64'] },
    [],
    'kernel 6.1.0-9-amd64 runs, 6.1.0-10-amd64 is installed'
  ],
  ['a kernel from elsewhere is nobody’s business', { ...quiet, kernel: '5.0-mine' }, [], '']
] as const
for (const [what, facts, names, reason] of cases) {
  t.test(`a reboot is needed or not: ${what}`, async t => {
    t.equal(
      rebootReason(
        facts,
        names.map(name => ({ name, before: '1', after: '2' }))
      ),
      reason
    )
  })
}

t.test('a host with VMs is not rebooted, and one that has booted since is left alone', async t => {
  const ran: string[][] = []
  const run = async (command: string, args: string[]) => {
    ran.push([command, ...args])
    return { code: 0, stdout: '', stderr: '' }
  }
  const world = { run, bootId: async () => 'boot', running: () => ['web'] }
  const fault: unknown = await rebootHost(world, 'boot', never).catch((error: unknown) => error)
  t.ok(Fault.is(fault, 'WRONG_STATE') && fault.message.includes('web'), String(fault))
  await rebootHost(world, 'an earlier boot', never)
  t.strictSame(ran, [])
  await rebootHost({ ...world, running: () => [] }, 'boot', never)
  t.strictSame(ran[0]?.slice(-2), ['systemctl', 'reboot'])
})
