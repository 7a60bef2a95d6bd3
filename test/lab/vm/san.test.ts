import { execa } from 'execa'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { LunReport } from '../../../storage/connections/block-storage.js'
import type { LoginOutcome } from '../../../storage/connections/iscsi.js'
import type { IscsiPortal } from '../../../storage/connections/iscsi-target.js'
import { Lab, poll } from '../lab.js'
import { Vm } from './vm.js'
import { root } from '../../root.js'

// A real SAN: LIO in one VM, open-iscsi in the other. What is tried here is storage/connections as the agent runs it.
const lab = new Lab('t-san')
const stor = new Vm(lab, 'stor', 30)
const host = new Vm(lab, 'host', 31)

type Answer<T> = { value?: T; fault?: { reason: string }; milliseconds: number; longestStandstill: number }

/** The requests of san.ts, one after the other, in one process of the hypervisor VM. */
async function san<T = unknown>(requests: object[], seconds = 180): Promise<Array<Answer<T>>> {
  const text = await host.shell(
    `umask 077; cat >/run/requests.json <<'END'
${JSON.stringify(requests)}
END
${process.execPath} ${root}/dist/test/lab/vm/san.js /run/requests.json`,
    seconds
  )
  return JSON.parse(text) as Array<Answer<T>>
}

let address = ''
const open = 'iqn.2026-01.org.drover:open'
const at = (port: number, iqn = open): IscsiPortal => ({ iqn, host: address, port, group: 1 })
const chap = (secret: string, mutualSecret: string) => ({
  user: 'host-user',
  secret,
  mutualUser: 'array-user',
  mutualSecret
})
const byNumber = (luns: LunReport[], serial: string) => {
  const found = luns.find(lun => lun.serial === serial)
  if (!found) throw new RangeError(`no LUN ${serial}`)
  return found
}

t.before(async () => {
  await execa('npm', ['run', '-s', 'build'], { cwd: root, timeout: 120_000 })
  await execa(join(root, 'test/lab/setup.sh'), ['full'], { timeout: 1_200_000 })
  await execa(join(root, 'test/lab/lab.sh'), ['switch'], { env: { LAB_NAME: lab.name }, timeout: 60_000 })
  address = `${await lab.subnet()}.${stor.number}`
  await Promise.all([stor.up({ memory: 512 }), host.up({ memory: 1024 })])
  await Promise.all([stor.ready(400), host.ready(400)])
  const target = readFileSync(join(root, 'test/lab/vm/iscsi-target.sh'), 'utf8')
  await stor.shell(`address=${address}\n${target}`, 120)
  await host.shell('modprobe -a iscsi_tcp sd_mod sg && systemctl start iscsid', 120)
})
t.teardown(() => lab.down())

t.test('targets are discovered, and logged in to through all portals at once', async t => {
  const [found, login] = (await san([
    { verb: 'discover', portal: `${address}:3260`, chap: null },
    { verb: 'login', portals: [at(3260), at(3261), at(3999)], chap: null }
  ])) as [Answer<IscsiPortal[]>, Answer<LoginOutcome[]>]
  const chapTarget = at(3262, 'iqn.2026-01.org.drover:chap')
  t.strictSame(
    found.value?.toSorted((a, b) => a.port - b.port),
    [at(3260), at(3261), chapTarget]
  )
  const outcomes = login.value?.map(({ portal, outcome }) => `${portal.port} ${outcome}`).toSorted()
  t.strictSame(outcomes, ['3260 loggedIn', '3261 loggedIn', '3999 failed'], 'a dead portal stops nobody')
})

t.test('CHAP both ways lets in who knows both secrets, and nobody else', async t => {
  const portals = [at(3262, 'iqn.2026-01.org.drover:chap')]
  const tried = await san([
    { verb: 'login', portals, chap: null },
    { verb: 'login', portals, chap: chap('wrong-secret-1', 'array-secret-2') },
    { verb: 'login', portals, chap: chap('host-secret-1', 'wrong-secret-2') },
    { verb: 'login', portals, chap: chap('host-secret-1', 'array-secret-2') }
  ])
  const refused = 'STORAGE_LOGIN_REFUSED'
  t.strictSame(
    tried.map(({ fault }) => fault?.reason ?? 'in'),
    [refused, refused, refused, 'in']
  )
  const modes = await host.shell(
    "find /etc/iscsi/nodes /etc/iscsi/send_targets -type f -printf '%m\\n' | sort -u"
  )
  t.equal(modes, '600', 'records are for root alone')
})

t.test('LUNs are listed with their paths and what is on them', async t => {
  await host.shell('mkfs.ext4 -q -F $(readlink -f /dev/disk/by-id/scsi-SLIO-ORG_FILEIO_bb02)', 60)
  const [listed] = await san<LunReport[]>([{ verb: 'luns' }])
  const luns = listed?.value ?? []
  t.match(byNumber(luns, 'aa01'), {
    use: { state: 'free' },
    size: 256 * 2 ** 20,
    vendor: 'LIO-ORG',
    transport: 'iscsi'
  })
  t.equal(byNumber(luns, 'aa01').paths.length, 2, 'one LUN, however many paths')
  t.match(byNumber(luns, 'bb02').use, { state: 'foreign', why: 'file system ext' })
  t.match(byNumber(luns, 'cc03').use, { state: 'free' })
  await host.shell(`test -b ${byNumber(luns, 'aa01').device}`)
})

t.test('a host whose key is preempted cannot write any more, and others can', async t => {
  // Another initiator is another host, as far as the target can tell.
  const node = `iscsiadm -m node -T ${open} -p ${address}:3260,1 -I other`
  const disks = await host.shell(
    `iscsiadm -m iface -I other -o new >/dev/null
    iscsiadm -m iface -I other -o update -n iface.initiatorname -v iqn.2026-01.org.drover:other >/dev/null
    ${node} -o new >/dev/null; ${node} -l >/dev/null; udevadm settle -t 20
    for session in /sys/class/iscsi_session/*; do
      echo $(cat $session/targetname) $(cat $session/initiatorname) $session/device/target*/*:0/block/*
    done`,
    120
  )
  const disk = (other: boolean) =>
    disks
      .split('\n')
      .filter(line => line.startsWith(open) && line.includes('drover:other') === other)
      .map(line => `/dev/${line.split('/').at(-1)}`)
  const [ours, [theirs = '']] = [disk(false), disk(true)]
  const write = (path: string) =>
    host.shell(`dd if=/dev/zero of=${path} bs=4096 count=1 oflag=direct status=none`).then(
      () => 'written',
      () => 'refused'
    )
  const [own, other] = ['0x4452000100000001', '0x4452000200000001']
  const registered = await san([
    { verb: 'register', paths: ours, key: own },
    { verb: 'register', paths: [theirs], key: other }
  ])
  t.strictSame(
    registered.map(({ fault }) => fault ?? null),
    [null, null]
  )
  t.equal(await write(theirs), 'written')
  const [preempted] = await san<{ keys: string[] }>([{ verb: 'preempt', path: ours[0], own, other }])
  t.strictSame([...new Set(preempted?.value?.keys)], [own])
  t.equal(await write(theirs), 'refused')
  for (const path of ours) t.equal(await write(path), 'written', path)
})

t.test(
  'a target that stands still for 120 s holds up a listing for a quarter of a minute, and nothing else',
  async t => {
    await stor.pause()
    const begin = performance.now()
    const [hung] = await san<LunReport[]>([{ verb: 'luns' }])
    t.ok(hung && hung.milliseconds < 60_000, `the listing took ${hung?.milliseconds} ms`)
    // A disk that held it up would do so for as long as it hangs; less is emulation on a busy machine.
    t.ok(
      hung && hung.longestStandstill < 10_000,
      `the event loop stood still for ${hung?.longestStandstill} ms`
    )
    t.match(
      hung?.value?.map(({ use }) => use.state),
      /refused/
    )
    await poll('120 s', 140, async () => (performance.now() - begin > 120_000 ? true : null), 1000)
    await stor.cont()
    const sessions = () => host.shell('cat /sys/class/iscsi_session/*/state')
    await poll(
      'the sessions are back',
      120,
      async () => (/FAILED|FREE/.test(await sessions()) ? null : true),
      1000
    )
    const [back] = await san<LunReport[]>([{ verb: 'luns' }])
    t.match(byNumber(back?.value ?? [], 'aa01').use, { state: 'free' })
  }
)

t.test('after a logout no session and no secret is left', async t => {
  await san([{ verb: 'logout', portals: [at(3260), at(3261), at(3262, 'iqn.2026-01.org.drover:chap')] }])
  await host.shell(`iscsiadm -m node -T ${open} -I other -u; iscsiadm -m node -T ${open} -I other -o delete`)
  t.equal(await host.shell('ls /sys/class/iscsi_session'), '')
  t.equal(await host.shell('grep -rl secret /etc/iscsi/nodes /etc/iscsi/send_targets || true'), '')
})
