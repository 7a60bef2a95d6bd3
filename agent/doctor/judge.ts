import { GiB } from '../../common/units.js'
import type { HostFacts } from './facts.js'
import { failure, ok, warning, type Finding } from './finding.js'

const day = 24 * 3600 * 1000

/** What the facts mean for a host that shall run virtual machines, one finding for each need. Pure. */
export function judge(facts: HostFacts, port: number, now: Date): Finding[] {
  return [
    kvm(facts),
    qemu(facts),
    libvirt(facts),
    libvirtConfig(facts),
    sanlock(facts),
    lockManager(facts),
    watchdog(facts),
    time(facts),
    fencing(facts),
    bridges(facts),
    space(facts),
    certificate(facts, now),
    listening(facts, port),
    postCopy(facts),
    sandbox(facts)
  ]
}

function kvm({ cpuFlags, kvmDevice, kvmRunsGuests }: HostFacts): Finding {
  if (kvmRunsGuests) return ok('kvm', 'KVM runs guests')
  const slow = 'guests run under emulation, many times slower'
  if (kvmDevice)
    return warning(
      'kvm',
      `/dev/kvm is there, but a guest does not run on it: ${slow}`,
      'if this is a virtual machine itself, have nested virtualization switched on; else see `dmesg | grep kvm`'
    )
  if (cpuFlags.includes('vmx') || cpuFlags.includes('svm'))
    return warning(
      'kvm',
      `the CPU can, but there is no /dev/kvm: ${slow}`,
      'modprobe kvm_intel || modprobe kvm_amd'
    )
  return warning(
    'kvm',
    `the CPU shows neither vmx nor svm: ${slow}`,
    'switch on VT-x or AMD-V in the firmware, or nested virtualization on the machine below'
  )
}

function qemu({ qemuVersion, qemuImgVersion }: HostFacts): Finding {
  if (qemuVersion === null) return failure('qemu', 'no QEMU', 'apt install qemu-system-x86')
  if (qemuImgVersion === null) return failure('qemu', 'no qemu-img', 'apt install qemu-utils')
  return ok('qemu', `QEMU ${qemuVersion}`)
}

function libvirt({ libvirtAnswers, libvirtVersion }: HostFacts): Finding {
  if (libvirtAnswers) return ok('libvirt', `libvirt ${libvirtVersion ?? ''} answers`)
  return failure(
    'libvirt',
    'libvirtd does not answer',
    'apt install libvirt-daemon-system; systemctl enable --now libvirtd; journalctl -u libvirtd'
  )
}

function libvirtConfig({ libvirtUsesOurConfig }: HostFacts): Finding {
  if (libvirtUsesOurConfig) return ok('libvirt-config', 'libvirtd uses /etc/drover/libvirtd.conf')
  return warning(
    'libvirt-config',
    'libvirtd runs with its own configuration: few workers, and host uuids that may repeat',
    'systemctl daemon-reload; systemctl restart libvirtd (virtual machines keep running)'
  )
}

function sanlock({ sanlockAnswers, sanlockName, hardwareId }: HostFacts): Finding {
  if (sanlockAnswers && sanlockName === hardwareId) return ok('sanlock', 'sanlock answers')
  if (sanlockAnswers)
    return failure(
      'sanlock',
      `sanlock knows this host as ${sanlockName}, not as ${hardwareId}: leases of a lost host are freed late`,
      '/usr/lib/drover/configure-host; systemctl restart sanlock (while no storage domain is active)'
    )
  return failure('sanlock', 'sanlock does not answer', 'apt install sanlock; systemctl enable --now sanlock')
}

function lockManager({ lockManager, sanlockPlugin }: HostFacts): Finding {
  if (!sanlockPlugin)
    return failure('vm-leases', 'libvirt has no sanlock plugin', 'apt install libvirt-sanlock')
  if (lockManager === 'sanlock') return ok('vm-leases', 'libvirt takes the leases of VMs through sanlock')
  return failure(
    'vm-leases',
    'libvirt does not take the leases of VMs: highly available VMs are not safe',
    '/usr/lib/drover/configure-host; systemctl restart libvirtd'
  )
}

function watchdog({ watchdogDevice, wdmdAnswers, sanlockWatchdogOff }: HostFacts): Finding {
  const risk = 'a host that hangs may run a highly available VM a second time'
  if (!watchdogDevice)
    return failure(
      'watchdog',
      `no watchdog device: ${risk}`,
      'load the driver of the board (iTCO_wdt, ipmi_watchdog), or softdog as a last resort; name it in /etc/modules'
    )
  if (!wdmdAnswers) return failure('watchdog', `wdmd does not answer: ${risk}`, 'systemctl enable --now wdmd')
  if (sanlockWatchdogOff)
    return failure(
      'watchdog',
      `sanlock runs without the watchdog: ${risk}`,
      'set sanlock_opts="" in /etc/default/sanlock and no use_watchdog = 0 in /etc/sanlock/sanlock.conf; restart sanlock'
    )
  return ok('watchdog', 'sanlock is guarded by a watchdog')
}

function time({ timeSynchronized }: HostFacts): Finding {
  if (timeSynchronized === true) return ok('time', 'the clock is synchronized')
  const state = timeSynchronized === null ? 'cannot tell whether the clock is' : 'the clock is not'
  return warning('time', `${state} synchronized`, 'apt install chrony')
}

function fencing({ fenceAgents }: HostFacts): Finding {
  if (fenceAgents.length > 0) return ok('fencing', `${fenceAgents.length} fence agents`)
  return warning(
    'fencing',
    'no fence agents: this host cannot cut the power of another one',
    'apt install fence-agents ipmitool'
  )
}

function bridges(facts: HostFacts): Finding {
  if (facts.bridges.length > 0) return ok('bridges', `bridges: ${facts.bridges.join(', ')}`)
  return warning(
    'bridges',
    'no bridge: VMs have no network',
    'make a bridge of the network card, for example br0 in /etc/network/interfaces (docs/operators/install.md)'
  )
}

function space({ freeSpace }: HostFacts): Finding {
  if (freeSpace === null)
    return failure('space', 'cannot read the free space', 'look at the disk below /var/lib')
  const gib = (freeSpace / GiB(1)).toFixed(1)
  if (freeSpace < GiB(0.25))
    return failure('space', `${gib} GiB free below /var/lib/drover`, 'free some space')
  if (freeSpace < GiB(2)) return warning('space', `${gib} GiB free below /var/lib/drover`, 'free some space')
  return ok('space', `${gib} GiB free below /var/lib/drover`)
}

function certificate({ certificateEnds }: HostFacts, now: Date): Finding {
  if (certificateEnds === null)
    return warning(
      'certificate',
      'this host is not enrolled',
      '`drover host create` on the coordinator, then `drover-agent enrol` here'
    )
  const left = Math.floor((certificateEnds.getTime() - now.getTime()) / day)
  if (left < 0)
    return failure(
      'certificate',
      `the certificate ended on ${certificateEnds.toISOString()}`,
      'drover-agent recover, with a token of `drover host token`'
    )
  if (left < 7)
    return warning(
      'certificate',
      `the certificate ends in ${left} days: it should have been renewed`,
      'look why the coordinator does not reach this host: journalctl -u drover-agent'
    )
  return ok('certificate', `the certificate is good for ${left} days`)
}

function listening({ agentAnswers, port: state }: HostFacts, port: number): Finding {
  if (agentAnswers && state === 'taken') return ok('agent', `the agent answers and port ${port} is in use`)
  if (agentAnswers)
    return warning(
      'agent',
      `the agent answers, but nothing listens on port ${port}`,
      'enrol the host; then journalctl -u drover-agent'
    )
  if (state === 'taken')
    return failure(
      'agent',
      `the agent is not running, and something else uses port ${port}`,
      `ss -ltnp sport = :${port}; or set \`listen\` in /etc/drover/agent.toml`
    )
  return warning('agent', 'the agent is not running', 'systemctl enable --now drover-agent')
}

function postCopy({ userfaultfd }: HostFacts): Finding {
  if (userfaultfd) return ok('post-copy', 'post-copy migration is possible')
  return warning(
    'post-copy',
    'post-copy migration is not possible',
    'sysctl -w vm.unprivileged_userfaultfd=1 (the package sets it at boot)'
  )
}

function sandbox({ bubblewrap }: HostFacts): Finding {
  if (bubblewrap) return ok('sandbox', 'untrusted images are opened in a sandbox')
  return failure('sandbox', 'no bubblewrap: untrusted images cannot be imported', 'apt install bubblewrap')
}
