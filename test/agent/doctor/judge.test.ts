import t from 'tap'
import { GiB, MiB } from '../../../common/units.js'
import type { HostFacts } from '../../../agent/doctor/facts.js'
import { judge } from '../../../agent/doctor/judge.js'

const now = new Date('2026-03-01T00:00:00Z')
const healthy: HostFacts = {
  cpuFlags: ['fpu', 'vmx'],
  kvmDevice: true,
  kvmRunsGuests: true,
  qemuVersion: '7.2.22',
  qemuImgVersion: '7.2.22',
  libvirtAnswers: true,
  libvirtVersion: '9.0.0',
  libvirtUsesOurConfig: true,
  lockManager: 'sanlock',
  sanlockPlugin: true,
  sanlockAnswers: true,
  sanlockName: 'aa',
  hardwareId: 'aa',
  sanlockWatchdogOff: false,
  watchdogDevice: true,
  wdmdAnswers: true,
  timeSynchronized: true,
  fenceAgents: ['fence_ipmilan'],
  bridges: ['br0'],
  freeSpace: GiB(20),
  certificateEnds: new Date('2026-03-20T00:00:00Z'),
  agentAnswers: true,
  port: 'taken',
  userfaultfd: true,
  bubblewrap: true
}
const bad = (facts: Partial<HostFacts>) =>
  judge({ ...healthy, ...facts }, 7444, now).filter(({ severity }) => severity !== 'ok')

t.test('a host that has everything has nothing to mend', async t => {
  t.strictSame(bad({}), [])
  t.ok(judge(healthy, 7444, now).every(({ fix }) => fix === null))
})

const cases: Array<[what: string, facts: Partial<HostFacts>, name: string, severity: string, fix: RegExp]> = [
  ['KVM that runs no guest', { kvmRunsGuests: false }, 'kvm', 'warning', /nested/],
  ['no /dev/kvm', { kvmRunsGuests: false, kvmDevice: false }, 'kvm', 'warning', /modprobe/],
  [
    'no virtualization',
    { kvmRunsGuests: false, kvmDevice: false, cpuFlags: [] },
    'kvm',
    'warning',
    /firmware/
  ],
  ['no QEMU', { qemuVersion: null }, 'qemu', 'failure', /qemu-system-x86/],
  ['no qemu-img', { qemuImgVersion: null }, 'qemu', 'failure', /qemu-utils/],
  ['a dead libvirtd', { libvirtAnswers: false }, 'libvirt', 'failure', /systemctl enable --now libvirtd/],
  ['a foreign libvirtd.conf', { libvirtUsesOurConfig: false }, 'libvirt-config', 'warning', /restart/],
  ['a dead sanlock', { sanlockAnswers: false }, 'sanlock', 'failure', /enable --now sanlock/],
  ['sanlock under another name', { sanlockName: 'h1' }, 'sanlock', 'failure', /configure-host/],
  ['no lock manager', { lockManager: null }, 'vm-leases', 'failure', /configure-host/],
  ['no sanlock plugin', { sanlockPlugin: false }, 'vm-leases', 'failure', /libvirt-sanlock/],
  ['no watchdog', { watchdogDevice: false }, 'watchdog', 'failure', /softdog/],
  ['no wdmd', { wdmdAnswers: false }, 'watchdog', 'failure', /wdmd/],
  ['sanlock -w 0', { sanlockWatchdogOff: true }, 'watchdog', 'failure', /sanlock_opts/],
  ['a loose clock', { timeSynchronized: false }, 'time', 'warning', /chrony/],
  ['no fence agent', { fenceAgents: [] }, 'fencing', 'warning', /fence-agents/],
  ['no bridge', { bridges: [] }, 'bridges', 'warning', /br0/],
  ['a disk nearly full', { freeSpace: GiB(1) }, 'space', 'warning', /free/],
  ['a full disk', { freeSpace: MiB(10) }, 'space', 'failure', /free/],
  ['no certificate', { certificateEnds: null }, 'certificate', 'warning', /enrol/],
  [
    'an old certificate',
    { certificateEnds: new Date('2026-03-03') },
    'certificate',
    'warning',
    /renewed|reach/
  ],
  ['an ended certificate', { certificateEnds: new Date('2026-02-28') }, 'certificate', 'failure', /recover/],
  ['a stopped agent', { agentAnswers: false, port: 'free' }, 'agent', 'warning', /systemctl/],
  ['a stranger on the port', { agentAnswers: false, port: 'taken' }, 'agent', 'failure', /ss -ltnp/],
  ['an agent that does not listen', { port: 'free' }, 'agent', 'warning', /enrol/],
  ['no userfaultfd', { userfaultfd: false }, 'post-copy', 'warning', /sysctl/],
  ['no bubblewrap', { bubblewrap: false }, 'sandbox', 'failure', /bubblewrap/]
]

t.test('each thing that a host lacks is named, with a way to mend it', async t => {
  for (const [what, facts, name, severity, fix] of cases) {
    const findings = bad(facts)
    t.equal(findings.length, 1, what)
    t.match(findings[0], { name, severity, fix }, what)
  }
})
