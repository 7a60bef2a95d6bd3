import { execa } from 'execa'
import { copyFileSync, readFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import type { agentServices } from '../../../proto/load.js'
import { AgentClient } from '../../host/agent/client.js'
import { buildGuest, Lab, poll } from '../lab.js'
import { Vm } from './vm.js'
import { root } from '../../root.js'

// What only a kernel of one's own can show: the unit's directives at work, a kernel NFS mount that hangs, a watchdog.
const lab = new Lab('t-vm')
const stor = new Vm(lab, 'stor', 30)
const host = new Vm(lab, 'host', 31)
const storageDomainId = randomUUID()

type State = { storageDomains: Array<{ storageDomainId: string; health: string }> }

const ask = async (service: keyof typeof agentServices, method: string, request: object = {}) => {
  const client = new AgentClient(`unix:${await host.socket('/run/drover/agent.sock')}`)
  try {
    return await client.call(service, method, request, 120)
  } catch (error) {
    throw new Error(`${method}: ${(error as Error).message}`, { cause: error })
  } finally {
    client.close()
  }
}
const health = async () => {
  const { storageDomains } = (await ask('storage', 'ListStorageDomains')) as State
  return storageDomains.find(domain => domain.storageDomainId === storageDomainId)?.health ?? null
}
/** A task of the agent, to its end. */
const task = async (service: 'storage' | 'vm', method: string, request: object) => {
  const { taskId } = await ask(service, method, { requestId: randomUUID(), ...request })
  return poll(method, 240, async () => {
    const seen = await ask('task', 'GetTask', { taskId })
    if (seen['state'] === 'TASK_STATE_FAILED') t.fail(`${method}: ${seen['failure']?.message}`)
    return seen['state'] === 'TASK_STATE_RUNNING' || seen['state'] === 'TASK_STATE_QUEUED' ? null : seen
  })
}
const store = (method: string, request: object = {}) =>
  task('storage', method, { storageDomainId, ...request })

t.before(async () => {
  await execa('node', ['tools/package.mjs', '--if-stale'], { cwd: root, timeout: 180_000 })
  await execa(join(root, 'test/lab/setup.sh'), ['full'], { timeout: 1_200_000 })
  await execa(join(root, 'test/lab/lab.sh'), ['switch'], { env: { LAB_NAME: lab.name }, timeout: 60_000 })
  await execa(join(root, 'test/lab/vm/unpack.sh'), [join(lab.files, 'over')], { timeout: 60_000 })
  await buildGuest(join(lab.files, 'guest.qcow2'))

  await stor.up({ memory: 768, qemu: await stor.disk('export', '4G') })
  await host.up({ memory: 2048, qemu: ['-device', 'i6300esb', '-action', 'watchdog=reset'] })
  await Promise.all([stor.ready(400), host.ready(400)])
  await stor.shell(readFileSync(join(root, 'test/lab/vm/nfs-server.sh'), 'utf8'), 300)
})
t.teardown(() => {
  host.closeSockets()
  return lab.down()
})

t.test("the agent's unit works with all its directives on Debian's kernel", async t => {
  await host.shell(
    `modprobe -a i6300esb kvm_amd nfs nfsv4; echo 'sanlock_opts=""' >/etc/default/sanlock
    systemd-tmpfiles --create /usr/lib/tmpfiles.d/drover-common.conf
    /usr/lib/drover/configure-host
    # Node.js under emulation, on a machine that is busy: minutes, which say nothing about the unit.
    mkdir -p /etc/systemd/system/drover-agent.service.d /var/lib/drover/import
    cp /lab/files/guest.qcow2 /var/lib/drover/import/
    printf '[Service]\\nTimeoutStartSec=600\\nWatchdogSec=120\\n' >/etc/systemd/system/drover-agent.service.d/lab.conf
    systemctl daemon-reload
    systemctl start wdmd sanlock libvirtd
    systemctl start --no-block drover-agent`,
    240
  )
  const pid = await poll('the agent', 600, async () => {
    const pid = await host.shell(
      'systemctl is-active -q drover-agent && systemctl show -P MainPID drover-agent'
    )
    return pid === '' ? null : pid
  })
  const status = await host.shell(`cat /proc/${pid}/status`)
  t.match(status, /^NoNewPrivs:\s*1$/m)
  t.match(status, /^Seccomp:\s*2$/m)
  const capabilities = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? ''
  t.equal(BigInt(`0x${capabilities}`) & (1n << 16n), 0n, 'it may load no kernel module')
  const failed = await host.shell('systemctl --failed --plain --no-legend')
  t.equal(failed.includes('drover'), false)
})

t.test('doctor finds KVM and the watchdog where they are', async t => {
  // Under emulation a libvirtd that is started by its socket may be later than doctor waits for it.
  const severity = await poll('doctor has reached libvirt', 180, async () => {
    const said = await host.shell('drover-agent doctor --json || true', 120)
    const { findings } = JSON.parse(said) as { findings: Array<{ name: string; severity: string }> }
    const found = Object.fromEntries(findings.map(({ name, severity }) => [name, severity]))
    return found['libvirt'] === 'ok' ? found : null
  })
  t.match(severity, {
    watchdog: 'ok',
    sanlock: 'ok',
    'vm-leases': 'ok',
    libvirt: 'ok',
    certificate: 'warning'
  })
})

t.test('an NFS export becomes a storage domain, mounted by the agent where QEMU sees it', async t => {
  const address = `${await lab.subnet()}.${stor.number}`
  const connection = { nfs: { export: `${address}:/data`, version: '4.2', timeo: 30, retrans: 2 } }
  await store('CreateStorageDomain', { connection, description: 'nfs', dataCenterId: randomUUID() })
  await store('ConnectStorageDomain', { connection })
  await store('ActivateStorageDomain', { sanlockHostId: 1 })
  await poll('the storage domain is seen active', 120, async () =>
    (await health()) === 'STORAGE_DOMAIN_HEALTH_ACTIVE' ? true : null
  )
  t.match(await host.shell('nsenter -t 1 -m findmnt -t nfs4 -n -o SOURCE'), ':/data')
  t.match(await host.shell('sanlock client status'), storageDomainId)
})

t.test('a VM with a lease runs on it, from an image that came as a file', async t => {
  const place = { imageId: randomUUID(), volumeId: randomUUID() }
  await store('ImportImage', {
    ...{ ...place, source: '/var/lib/drover/import/guest.qcow2', sourceFormat: 'DISK_FORMAT_QCOW2' },
    ...{ format: 'DISK_FORMAT_QCOW2', allocation: 'ALLOCATION_POLICY_THIN' }
  })
  const vmId = randomUUID()
  const { result } = await store('CreateLease', { leaseId: vmId })
  const disks = [{ diskId: randomUUID(), storageDomainId, ...place, slot: 1 }]
  const lease = { storageDomainId, offsetBytes: result['offset_bytes'] }
  await task('vm', 'StartVm', {
    vmGeneration: '1',
    spec: { vmId, name: 'on-nfs', vcpus: 1, memoryBytes: String(160 * 2 ** 20), disks, lease }
  })
  const { status } = await ask('vm', 'GetVm', { vmId })
  t.match(status, /POWERING_UP|UP$/)
  t.match(await host.shell('sanlock client status'), new RegExp(`r [^:]*:${vmId}:`))
  const owners = await host.shell(`find /run/drover/mnt -mindepth 2 -printf '%U:%G\\n' | sort -u`)
  t.equal(owners, '36:36', 'root is nobody to this server')
})

t.test('a server that stands still for 60 s does not hold up the agent', async t => {
  await stor.pause()
  const end = performance.now() + 60_000
  const healths: unknown[] = []
  let slowest = 0
  while (performance.now() < end) {
    const began = performance.now()
    await ask('host', 'GetHost')
    healths.push(await health())
    slowest = Math.max(slowest, performance.now() - began)
  }
  await stor.cont()
  t.ok(slowest < 20_000, `the slowest answer took ${slowest} ms, under emulation`)
  t.ok(
    healths.some(seen => seen !== 'STORAGE_DOMAIN_HEALTH_ACTIVE'),
    'the agent said that the storage does not answer'
  )
  await poll('the storage domain is back', 120, async () =>
    (await health()) === 'STORAGE_DOMAIN_HEALTH_ACTIVE' ? true : null
  )
})

t.test('a host whose sanlock died is reset by its watchdog', async t => {
  t.equal(await host.boots(), 1)
  await host.shell('kill -KILL $(systemctl show -P MainPID sanlock)')
  await poll('the reset', 600, async () => ((await host.boots()) > 1 ? true : null), 1000)
  t.pass('it was reset and has booted again')
})
