import { execa } from 'execa'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bootableDisk } from '../../host/agent/bootable-cd.js'
import { root } from '../../root.js'
import { Lab, poll } from '../lab.js'
import { Vm } from './vm.js'

// A LUN of a real SAN given to a guest: LIO in one VM, open-iscsi, libvirt and QEMU in the other.
const lab = new Lab('t-lun')
const stor = new Vm(lab, 'stor', 30)
const host = new Vm(lab, 'host', 31)
const name = 'drover-6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a'
const iqn = 'iqn.2026-01.org.drover:open'
const wwids = new Map<string, string>()

t.before(async () => {
  await execa('npm', ['run', '-s', 'build'], { cwd: root, timeout: 120_000 })
  await execa(join(root, 'test/lab/setup.sh'), ['full'], { timeout: 1_200_000 })
  await execa(join(root, 'test/lab/lab.sh'), ['switch'], { env: { LAB_NAME: lab.name }, timeout: 60_000 })
  const address = `${await lab.subnet()}.${stor.number}`
  await Promise.all([stor.up({ memory: 512 }), host.up({ memory: 1024 })])
  await Promise.all([stor.ready(400), host.ready(400)])
  const target = readFileSync(join(root, 'test/lab/vm/iscsi-target.sh'), 'utf8')
  await stor.shell(`address=${address}\n${target}`, 120)
  writeFileSync(join(lab.files, 'lun.img'), bootableDisk('LUN-ONE'))
  const seen = await host.shell(
    `modprobe -a iscsi_tcp sd_mod sg && systemctl start iscsid libvirtd
    iscsiadm -m discovery -t st -p ${address}:3260 >/dev/null
    iscsiadm -m node -T ${iqn} -p ${address}:3260 -l >/dev/null; udevadm settle -t 20
    for disk in /sys/block/sd*; do
      echo $(tail -c +5 $disk/device/vpd_pg80 | tr -d '\\0') $(cat $disk/device/wwid) /dev/$(basename $disk)
    done`,
    300
  )
  for (const [, serial = '', naa = '', device = ''] of seen.matchAll(/^(\S+) naa\.(\S+) (\S+)$/gm)) {
    wwids.set(serial, `3${naa}`)
    wwids.set(`${serial} device`, device)
  }
})
t.teardown(() => lab.down())

const deviceOf = (serial: string) => wwids.get(`${serial} device`) ?? ''
const definition = (serial: string, how: 'passthrough' | 'plain') =>
  host.shell(
    `${process.execPath} ${root}/dist/test/lab/vm/direct-lun.js ${wwids.get(serial) ?? ''} ${how}`,
    180
  )

t.test('a guest boots from a LUN with its SCSI commands and reservations passed through', async t => {
  await host.shell(`dd if=/lab/files/lun.img of=${deviceOf('aa01')} bs=4096 oflag=direct status=none`)
  const xml = await definition('aa01', 'passthrough')
  t.match(xml, /device="lun".*<reservations managed="yes"\/>/s)
  // QEMU under emulation within emulation: its start alone takes libvirt minutes.
  await host.shell(
    `cat >/run/lun.xml <<'END'\n${xml}\nEND
    systemd-run --unit lun-vm sh -c 'virsh create --paused /run/lun.xml >/run/created 2>&1; echo ended >>/run/created'`,
    60
  )
  const created = await poll('libvirt has started QEMU', 500, async () => {
    const said = await host.shell('cat /run/created 2>/dev/null || true')
    return said.includes('ended') ? said : null
  })
  t.match(created, /Domain '.*' created/)
  t.equal((await host.shell('pgrep -c qemu-pr-helper || true')).trim(), '1')
  await host.shell(
    `systemd-run --unit lun-says sh -c 'virsh ttyconsole ${name} >/run/tty && cat "$(cat /run/tty)" >/run/said'
    sleep 2; virsh resume ${name}`,
    120
  )
  await poll('the guest has read its label', 300, async () => {
    return (await host.shell('cat /run/said 2>/dev/null || true')).includes('LUN-ONE') ? true : null
  })
  await host.shell(`virsh destroy ${name}`, 120)
})

t.test('what the host has mounted is given to no guest, and given once it has not', async t => {
  const device = deviceOf('bb02')
  await host.shell(`mkfs.ext4 -q -F ${device} && mkdir -p /run/mounted && mount ${device} /run/mounted`, 60)
  t.match(
    await definition('bb02', 'plain'),
    /refused: LUN .*: in use on this host: mounted at \/run\/mounted/
  )
  await host.shell('umount /run/mounted')
  t.match(await definition('bb02', 'plain'), /<source dev="\/dev\/disk\/by-id\/scsi-/)
})

t.test('a LUN that is gone is named', async t => {
  await host.shell(`iscsiadm -m node -T ${iqn} -u; iscsiadm -m node -T ${iqn} -o delete`, 60)
  t.match(await definition('aa01', 'plain'), /refused: this host does not see LUN 3/)
})
