import { execa } from 'execa'
import { existsSync } from 'node:fs'
import t from 'tap'
import { Lab, poll } from './lab.js'

// What the lab itself promises, on which every other test of the lab stands.
const lab = new Lab('t-hosts')

const fence = async (host: string, action: string) => {
  const { options, secretOptions } = await lab.powerDevice(host)
  const input = Object.entries({ ...options, ...secretOptions, action })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
  return lab.shell('h1', 'fence_ipmilan 2>/dev/null', { input })
}
const reaches = (from: string, to: string) =>
  lab.shell(from, `timeout 2 bash -c 'exec 3<>/dev/tcp/${to}/22' 2>&1 || true`).then(answer => {
    return answer.includes('refused') // an answer: nothing listens there, but the host is there
  })

t.before(() => lab.up('coord', 'h1', 'h2'))
t.teardown(() => lab.down())

t.test('hosts boot real systemd with libvirtd and sanlock, each with an identity of its own', async t => {
  for (const host of ['coord', 'h1', 'h2'])
    t.equal(await lab.exec(host, ['systemctl', 'is-system-running']), 'running', host)
  const uuids = await Promise.all(
    ['h1', 'h2'].map(host => lab.shell(host, `virsh capabilities | sed -n 's:.*<uuid>\\(.*\\)</uuid>:\\1:p'`))
  )
  t.not(uuids[0], uuids[1])
  t.match(await lab.shell('h1', 'sanlock client status'), /daemon \S*h1/)
  await t.rejects(lab.shell('coord', 'systemctl is-active libvirtd'))
})

t.test('a power cut takes every process, and the disk is there after the next boot', async t => {
  await lab.shell('h2', 'echo kept >/var/lib/kept; echo lost >/run/lost; sleep 1000 >/dev/null 2>&1 &')
  const pid = await lab.pid('h2')
  await lab.off('h2')
  t.equal(await lab.isPowered('h2'), false)
  t.notOk(existsSync(`/proc/${pid}`))
  t.equal(await reaches('h1', 'h2'), false)

  await lab.on('h2')
  t.equal(await lab.shell('h2', 'cat /var/lib/kept'), 'kept')
  t.equal(await lab.shell('h2', 'ls /run/lost 2>/dev/null || echo gone'), 'gone')
  await poll('h2 is reached', 20, async () => ((await reaches('h1', 'h2')) ? true : null))
})

t.test("a host's power controller tells and does the truth", async t => {
  t.match(await fence('h2', 'status').catch(String), /Status: ON/)
  await fence('h2', 'off')
  t.equal(await lab.isPowered('h2'), false)
  t.match(await fence('h2', 'status').catch((error: { stdout: string }) => error.stdout), /Status: OFF/)
  await fence('h2', 'on')
  t.equal(await lab.isPowered('h2'), true)

  await lab.off('coord')
  t.match(await fence('coord', 'status').catch((error: { stdout: string }) => error.stdout), /Status: OFF/)
  await lab.on('coord')
})

t.test('cables are pulled, hosts are parted, and all is healed', async t => {
  await poll('h2 is reached', 10, async () => ((await reaches('h1', 'h2')) ? true : null))
  await lab.link('h2', 'down')
  t.equal(await reaches('h1', 'h2'), false)
  await lab.link('h2', 'up')
  await poll('h2 is reached again', 10, async () => ((await reaches('h1', 'h2')) ? true : null))

  await lab.cut('h1', 'h2')
  t.equal(await reaches('h1', 'h2'), false)
  t.equal(await reaches('h1', 'coord'), true)
  t.equal(await reaches('h2', 'coord'), true)
  await lab.heal()
  await poll('h2 is reached once more', 10, async () => ((await reaches('h1', 'h2')) ? true : null))
})

t.test('shared storage is shared, and one host can lose it', async t => {
  await lab.shell('h1', 'echo one >/lab/shared/file')
  t.equal(await lab.shell('h2', 'cat /lab/shared/file'), 'one')
  await lab.storage('h2', 'down')
  await t.rejects(lab.shell('h2', 'cat /lab/shared/file'))
  t.equal(await lab.shell('h1', 'cat /lab/shared/file'), 'one')
  await lab.storage('h2', 'up')
  t.equal(await lab.shell('h2', 'cat /lab/shared/file'), 'one')
})

t.test('a killed libvirtd is started again by systemd, a frozen host stands still', async t => {
  const main = () => lab.exec('h1', ['systemctl', 'show', '-P', 'MainPID', 'libvirtd'])
  const before = await main()
  await lab.kill('h1', 'libvirtd')
  await poll('another libvirtd', 20, async () => {
    const now = await main()
    return now !== '0' && now !== before ? true : null
  })
  await lab.freeze('h2')
  t.equal(await reaches('h1', 'h2'), true, 'the kernel of a frozen host still answers')
  await lab.thaw('h2')
  t.equal(await lab.exec('h2', ['true']), '')
})

t.test('two labs do not meet, and nothing is left of one that was taken down', async t => {
  const other = new Lab('t-other')
  t.teardown(() => other.down())
  await other.up('h1')
  t.not(await other.address('h1'), await lab.address('h1'))
  await other.shell(
    'h1',
    'touch /lab/shared/theirs; truncate -s 4M /lab/shared/loop; losetup -f /lab/shared/loop'
  )
  t.equal(await lab.shell('h1', 'ls /lab/shared/theirs 2>/dev/null || echo none'), 'none')
  t.not(await other.traces(), '')

  await other.down()
  t.equal(await other.traces(), '')
  t.equal((await execa('losetup', ['-a'])).stdout.includes('t-other'), false)
  t.equal(await lab.exec('h1', ['systemctl', 'is-system-running']), 'running')
})
