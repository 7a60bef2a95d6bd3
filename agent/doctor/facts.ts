import { X509Certificate } from 'node:crypto'
import { readdir, readFile, statfs } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { within } from '../../common/deadline.js'
import { readIfThere } from '../../common/durable-file.js'
import type { Run } from '../../common/run.js'
import { bytes, seconds, type Bytes } from '../../common/units.js'
import { exists } from '../../common/exists.js'
import { readHardwareId } from '../capabilities.js'
import type { AgentConfig } from '../config.js'
import { probeKvm } from '../kvm-probe.js'

/** What doctor has seen of a host. `null` is "could not be found out". */
export type HostFacts = {
  cpuFlags: string[]
  kvmDevice: boolean
  kvmRunsGuests: boolean
  qemuVersion: string | null
  qemuImgVersion: string | null
  libvirtAnswers: boolean
  libvirtVersion: string | null
  libvirtUsesOurConfig: boolean
  lockManager: string | null
  sanlockPlugin: boolean
  sanlockAnswers: boolean
  /** The name by which sanlock knows this host, and the id by which the coordinator does. */
  sanlockName: string | null
  hardwareId: string
  sanlockWatchdogOff: boolean
  watchdogDevice: boolean
  wdmdAnswers: boolean
  timeSynchronized: boolean | null
  fenceAgents: string[]
  bridges: string[]
  freeSpace: Bytes | null
  certificateEnds: Date | null
  agentAnswers: boolean
  port: 'free' | 'taken'
  userfaultfd: boolean
  bubblewrap: boolean
}

/** Looks at everything at once. Nothing is changed, and nothing that hangs holds up the rest for long. */
export async function gatherFacts(config: AgentConfig, run: Run, signal: AbortSignal): Promise<HostFacts> {
  const said = (command: string, args: string[]) =>
    run(command, args, within(seconds(10), signal)).then(
      ({ stdout }) => stdout.trim(),
      () => null
    )
  const text = (path: string) => readFile(path, 'utf8').catch(() => '')
  const [cpu, kvmRunsGuests, qemu, qemuImg, virsh, unit, qemuConf, sanlock, sanlockConf, time, names] =
    await Promise.all([
      text('/proc/cpuinfo'),
      probeKvm(run, signal),
      said('qemu-system-x86_64', ['--version']),
      said('qemu-img', ['--version']),
      said('virsh', ['-c', 'qemu:///system', 'version']),
      said('systemctl', ['show', '-P', 'ExecStart', 'libvirtd.service']),
      text('/etc/libvirt/qemu.conf'),
      said('sanlock', ['client', 'status', '-D']),
      text('/etc/sanlock/sanlock.conf'),
      said('timedatectl', ['show', '-P', 'NTPSynchronized']),
      readdir('/sys/class/net').catch(() => [])
    ])
  const [device, watchdog, wdmd, plugin, bwrap, agents, bridges] = await Promise.all([
    exists('/dev/kvm'),
    exists('/dev/watchdog'),
    answers('/run/wdmd/wdmd.sock'),
    exists('/usr/lib/x86_64-linux-gnu/libvirt/lock-driver/sanlock.so'),
    exists('/usr/bin/bwrap'),
    readdir(config.fence_agents_directory).catch(() => []),
    Promise.all(names.map(name => exists(`/sys/class/net/${name}/bridge`)))
  ])
  return {
    cpuFlags: (/^flags\s*:\s*(.*)$/m.exec(cpu)?.[1] ?? '').split(' '),
    kvmDevice: device,
    kvmRunsGuests,
    qemuVersion: version(qemu),
    qemuImgVersion: version(qemuImg),
    libvirtAnswers: virsh !== null,
    libvirtVersion: /Using library: libvirt (\S+)/.exec(virsh ?? '')?.[1] ?? null,
    libvirtUsesOurConfig: (unit ?? '').includes('/etc/drover/libvirtd.conf'),
    lockManager: /^\s*lock_manager\s*=\s*"([^"]*)"/m.exec(qemuConf)?.[1] ?? null,
    sanlockPlugin: plugin,
    sanlockAnswers: sanlock !== null,
    sanlockName: /^daemon (\S+)/m.exec(sanlock ?? '')?.[1] ?? null,
    hardwareId: await readHardwareId(),
    sanlockWatchdogOff: /use_watchdog=0/.test(sanlock ?? '') || /^\s*use_watchdog\s*=\s*0/m.test(sanlockConf),
    watchdogDevice: watchdog,
    wdmdAnswers: wdmd,
    timeSynchronized: time === null ? null : time === 'yes',
    fenceAgents: agents.filter(name => /^fence_[a-z0-9_]+$/.test(name)),
    bridges: names.filter((_, index) => bridges[index]),
    freeSpace: await freeSpace(config.state_directory),
    certificateEnds: certificateEnd(await readIfThere(`${config.state_directory}/tls/host.pem`)),
    agentAnswers: await answers(`${config.run_directory}/agent.sock`),
    port: await portState(config.listen),
    userfaultfd: (await text('/proc/sys/vm/unprivileged_userfaultfd')).trim() === '1',
    bubblewrap: bwrap
  }
}

const version = (output: string | null) => /version (\d+(?:\.\d+)+)/.exec(output ?? '')?.[1] ?? null

async function freeSpace(folder: string): Promise<Bytes | null> {
  for (const path of [folder, '/var/lib', '/']) {
    const space = await statfs(path).catch(() => null)
    if (space) return bytes(space.bavail * space.bsize)
  }
  return null
}

function certificateEnd(pem: string | null): Date | null {
  if (pem === null) return null
  try {
    return new Date(new X509Certificate(pem).validTo)
  } catch {
    return new Date(0)
  }
}

/** Whether somebody accepts connections at a unix socket. */
function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.setTimeout(2000)
    const settle = (result: boolean) => {
      socket.destroy()
      resolve(result)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
    socket.once('timeout', () => settle(false))
  })
}

function portState(listen: string): Promise<'free' | 'taken'> {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(listen) ?? []
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve('taken'))
    server.listen(Number(port), host, () => server.close(() => resolve('free')))
  })
}
