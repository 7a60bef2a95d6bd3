import { execa } from 'execa'
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Lab, poll } from './lab.js'
import { root } from '../root.js'

// The Debian packages on hosts with a real systemd: installed, working as units, and purged without a trace.
const lab = new Lab('t-pkg')

const install = (host: string, kind: string) =>
  lab.shell(
    host,
    `export DROVER_NODE=${process.execPath}; dpkg -i /lab/files/drover-common_*.deb /lab/files/drover-${kind}_*.deb`,
    { seconds: 120 }
  )
const active = (host: string, unit: string, not = '') =>
  poll(`${unit} active on ${host}`, 60, async () => {
    const said = await lab.exec(host, ['systemctl', 'show', '-P', 'ActiveState', '-P', 'MainPID', unit])
    const [pid = '', state = ''] = said.split('\n').toSorted()
    return state === 'active' && pid !== not ? pid : null
  })
const traces = (host: string) =>
  lab.shell(
    host,
    `{ find / -xdev \\( -name '*drover*' -o -path '/etc/pki/*' \\) -not -path '/lab/*' -not -path '/proc/*' \\
        -not -path '/work/*' -not -path '/usr/local/lib/drover-lab*' -not -path '/var/log/journal/*' -newer /etc/hostname
      getent passwd drover; getent group drover; grep -s 'BEGIN drover' /etc/libvirt/*.conf
      find /run/drover /var/lib/drover /etc/drover; } 2>/dev/null | grep -v "^${root}" || true`
  )

t.before(async () => {
  await execa('node', ['tools/package.mjs', '--if-stale'], { cwd: root, timeout: 180_000 })
  await lab.up('coord', 'h1')
  const built = join(root, 'build')
  for (const name of readdirSync(built).filter(name => name.endsWith('.deb')))
    copyFileSync(join(built, name), join(lab.files, name))
})
t.teardown(() => lab.down())

t.test('the agent starts as a unit, comes back after a kill and after it hung', async t => {
  await install('h1', 'agent')
  const first = await active('h1', 'drover-agent')
  t.match(await lab.shell('h1', 'ls /run/drover/agent.sock'), 'agent.sock')

  await lab.kill('h1', 'agent')
  const second = await active('h1', 'drover-agent', first)
  await lab.shell('h1', `kill -STOP ${second}`)
  const third = await active('h1', 'drover-agent', second)
  t.not(third, second, 'the watchdog of systemd ended the one that stood still')
  t.equal(await lab.exec('h1', ['systemctl', 'is-system-running']), 'running')
})

t.test('the host is configured for Drover and says what it lacks', async t => {
  await lab.shell('h1', '/usr/lib/drover/configure-host && systemctl restart sanlock libvirtd && virsh list')
  t.equal(await lab.shell('h1', '/usr/lib/drover/configure-host'), '', 'a second time changes nothing')
  t.match(
    await lab.shell('h1', 'cat /proc/$(pgrep -x libvirtd | head -1)/cmdline | tr "\\0" " "'),
    '/etc/drover/libvirtd.conf'
  )

  const said = await lab.shell('h1', 'drover-agent doctor --json || true')
  const { ok, findings } = JSON.parse(said) as {
    ok: boolean
    findings: Array<{ name: string; severity: string }>
  }
  const severity = Object.fromEntries(findings.map(({ name, severity }) => [name, severity]))
  t.equal(ok, false)
  t.match(severity, { libvirt: 'ok', 'libvirt-config': 'ok', sanlock: 'ok', 'vm-leases': 'ok', qemu: 'ok' })
  t.equal(severity['watchdog'], 'failure', 'a namespace has no watchdog device')
})

t.test('nothing is left of a purged agent', async t => {
  await lab.shell('h1', 'dpkg -P drover-agent drover-common', { seconds: 120 })
  t.equal(await traces('h1'), '')
  t.equal(await lab.shell('h1', 'pgrep -f ^/usr/lib/drover/node || true'), '')
  await lab.shell('h1', 'systemctl daemon-reload; systemctl restart libvirtd; virsh list')
})

t.test('the coordinator runs as its own user, and nothing is left of it when purged', async t => {
  await install('coord', 'coordinator')
  const pid = await active('coord', 'drover-coordinator')
  t.equal(await lab.shell('coord', `ps -o user= -p ${pid}`), 'drover')
  t.equal(await lab.shell('coord', 'stat -c %a /var/lib/drover/coordinator'), '700')
  await lab.shell('coord', 'dpkg -P drover-coordinator drover-common', { seconds: 120 })
  t.equal(await traces('coord'), '')
})
