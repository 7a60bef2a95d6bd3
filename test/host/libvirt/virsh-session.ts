import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tinyGuest } from './tiny-guest.js'

/**
 * A long talk of the real virsh with libvirtd through a socket: as many different procedures and events as one
 * machine without guest operating systems can produce. Commands that libvirt refuses are welcome: what counts is
 * how they travel. Gives what virsh printed.
 */
export async function virshSession(root: string, socket: string): Promise<string> {
  const files = join(root, 'files')
  await mkdir(files)
  for (const [name, xml] of Object.entries(definitions(files))) await writeFile(join(files, name), xml)
  for (const image of ['disk', 'copy', 'leaf', 'other']) await run('qemu-img', qcow2(join(files, image)))
  const output: string[] = []
  const said = async (driver: 'qemu' | 'test', commands: string) => {
    const path = driver === 'qemu' ? 'system' : 'default'
    const uri = `${driver}+unix:///${path}?socket=${socket}`
    for (const command of commands.trim().split('\n')) output.push(`$ ${driver}: ${command}`)
    output.push(await run('virsh', ['-q', '-c', uri, commands.trim().replaceAll(/\s*\n\s*/g, '; ')]))
  }
  const watch = background('virsh', [
    '-c',
    `qemu+unix:///system?socket=${socket}`,
    'event',
    '--all',
    '--loop'
  ])
  const testWatch = background('virsh', [
    '-c',
    `test+unix:///default?socket=${socket}`,
    'event',
    '--all',
    '--loop'
  ])
  await said('test', testDriver(files))
  await said('qemu', host(files))
  await said('qemu', lifecycle(files))
  await said('qemu', devices(files))
  await said('qemu', blockLayer(files))
  await said('qemu', jobs(files))
  await said('qemu', objects(files))
  return [...output, await watch(), await testWatch()].join('\n')
}

const guest = tinyGuest({ uuid: '11111111-2222-4333-8444-555555555555', name: 'g' })

const testDriver = (files: string) => `
  list --all
  version
  dominfo test
  domid test
  domuuid test
  domname 6695eb01-f6a4-8304-79aa-97f2502e193f
  dumpxml test
  dumpxml test --inactive
  suspend test
  resume test
  domstate test --reason
  desc test
  desc test a-description
  metadata test --uri urn:drover:vm:1
  metadata test --uri urn:drover:vm:1 --key drover --set '<vm/>'
  domfsfreeze test
  domfsthaw test
  domfstrim test
  domfsinfo test
  domtime test
  domtime test --sync
  guestinfo test
  guest-agent-timeout test --timeout 5
  set-user-password test root secret
  domifaddr test
  screenshot test ${files}/shot
  console test
  vcpuinfo test
  vcpupin test
  vcpucount test
  setvcpus test 2
  emulatorpin test
  setmem test 200000
  setmaxmem test 8388608
  dommemstat test
  domifstat test vnet0
  domblkstat test hda
  domblkinfo test hda
  domblkerror test
  domif-getlink test testnet0
  blkdeviotune test hda
  domiftune test testnet0
  schedinfo test
  memtune test
  numatune test
  snapshot-create-as test s1
  snapshot-create-as test s2
  snapshot-list test
  snapshot-dumpxml test s1
  snapshot-info test s1
  snapshot-parent test s2
  snapshot-current test
  snapshot-revert test s1
  snapshot-delete test s2
  managedsave test
  managedsave-remove test
  start test
  dump test ${files}/core
  save test ${files}/saved
  restore ${files}/saved
  managedsave test
  start test
  shutdown test
  start test
  reboot test
  reset test
  autostart test
  autostart --disable test
  destroy test
  domrename test renamed
  domrename renamed test
  define ${files}/defined.xml
  undefine d
  net-list --all
  net-info default
  net-dumpxml default
  net-destroy default
  net-start default
  net-autostart default
  nodedev-list
  nodedev-dumpxml computer
  iface-list --all
  iface-dumpxml eth1
  iface-mac eth1
  pool-list --all
  pool-info default-pool
  pool-dumpxml default-pool
  pool-refresh default-pool
  vol-create-as default-pool v1 1M
  vol-list default-pool
  vol-info v1 --pool default-pool
  vol-dumpxml v1 --pool default-pool
  vol-delete v1 --pool default-pool
  checkpoint-list test
  maxvcpus
  hostname
  uri
  capabilities
  freecell
  nodecpustats
  nodememstats
`

const host = (files: string) => `
  version --daemon
  uri
  hostname
  sysinfo
  nodeinfo
  nodecpustats
  nodecpustats --cpu 0
  nodememstats
  nodecpumap
  freecell --all
  freepages --all
  capabilities
  domcapabilities
  maxvcpus
  maxvcpus qemu
  cpu-models x86_64
  cpu-compare ${files}/cpu.xml
  cpu-baseline ${files}/cpu.xml
  hypervisor-cpu-compare ${files}/cpu.xml
  hypervisor-cpu-baseline ${files}/cpu.xml
  node-memory-tune
  list --all --title
  list --all --managed-save --with-snapshot --with-checkpoint
`

const lifecycle = (files: string) => `
  define ${files}/guest.xml --validate
  start g --paused
  list
  dominfo g
  domid g
  domuuid g
  domstate g --reason
  domcontrol g
  domjobinfo g
  dominfo g
  dumpxml g
  dumpxml g --inactive --security-info
  metadata g --uri urn:drover:vm:1 --key drover --set '<vm generation="1"/>'
  metadata g --uri urn:drover:vm:1
  metadata g --uri urn:nobody
  metadata g --uri urn:drover:vm:1 --remove
  desc g --live a-description
  resume g
  suspend g
  reset g
  inject-nmi g
  send-key g KEY_ENTER
  reboot g --mode acpi
  shutdown g --mode agent
  set-lifecycle-action g crash restart
  set-lifecycle-action g poweroff destroy --live
  autostart g
  autostart g --disable
  domstats g
  domstats --nowait --backing
  domstats --list-active --state --cpu-total
  resume g
  domhostname g
  domdisplay g
  vncdisplay g
  ttyconsole g
  domname 11111111-2222-4333-8444-555555555555
  dommemstat g
  dommemstat g --period 5
  screenshot g ${files}/shot.ppm
  console g
  domtime g
  qemu-monitor-command g --hmp 'info status'
  qemu-monitor-command g '{"execute":"query-status"}'
  qemu-agent-command g --timeout 1 '{"execute":"guest-ping"}'
  guest-agent-timeout g --timeout 1
  guestinfo g
  guestvcpus g
  domfsinfo g
  domfsfreeze g
  domfsthaw g
  domfstrim g
  domifaddr g --source agent
  domifaddr g --source arp
  set-user-password g root secret
  get-user-sshkeys g root
  domlaunchsecinfo g
  dompmwakeup g
`

const devices = (files: string) => `
  attach-device g ${files}/rng.xml --live
  detach-device-alias g ua-rng --live
  attach-device g ${files}/nic.xml --live
  domiflist g
  domif-setlink g 52:54:00:00:00:01 down
  domif-getlink g 52:54:00:00:00:01
  domiftune g 52:54:00:00:00:01 --inbound 1000,2000,3000
  domiftune g 52:54:00:00:00:01
  domifstat g 52:54:00:00:00:01
  update-device g ${files}/nic.xml --live
  detach-device g ${files}/nic.xml --live
  change-media g hdc ${files}/other --insert
  change-media g hdc --eject
  attach-disk g ${files}/other vdb --subdriver qcow2
  detach-disk g vdb
  vcpuinfo g
  vcpupin g
  vcpupin g 0 0
  vcpucount g
  vcpucount g --guest
  setvcpus g 2 --config --maximum
  setvcpus g 2 --config
  setvcpu g 0 --enable
  emulatorpin g
  emulatorpin g 0
  iothreadinfo g
  iothreadadd g 1
  iothreadpin g 1 0
  iothreadset g 1 --poll-max-ns 1000
  iothreaddel g 1
  setmem g 16384 --live
  setmaxmem g 20480 --config
  memtune g
  memtune g --soft-limit 2000000 --config
  blkiotune g
  blkiotune g --weight 500 --config
  numatune g
  schedinfo g
  schedinfo g --set cpu_shares=1024 --config
  perf g
  cpu-stats g
  blkdeviotune g vda
  blkdeviotune g vda --total-iops-sec 100 --group-name all
  domblklist g
  domblkinfo g vda
  domblkstat g vda
  domblkerror g
  domblkthreshold g vda 1000000
  domdirtyrate-calc g --seconds 1
`

const blockLayer = (files: string) => `
  blockresize g vda 8M
  snapshot-create-as g --no-metadata --disk-only --reuse-external --diskspec vda,file=${files}/leaf --diskspec vdb,snapshot=no
  blockcommit g vda --active --pivot --wait
  blockcopy g vda ${files}/copy --reuse-external --transient-job --wait --pivot
  blockjob g vda
  blockjob g vda --bandwidth 10
  blockjob g vda --abort
  blockpull g vda --wait
  snapshot-create-as g s1 --disk-only --diskspec vda,file=${files}/s1 --diskspec vdb,snapshot=no
  snapshot-list g
  snapshot-current g
  snapshot-info g s1
  snapshot-dumpxml g s1
  snapshot-parent g s1
  snapshot-revert g s1
  blockcommit g vda --active --pivot --wait
  snapshot-delete g s1 --metadata
  checkpoint-create-as g c1 --diskspec vda --diskspec vdb,checkpoint=no
  checkpoint-create-as g c2 --diskspec vda --diskspec vdb,checkpoint=no
  checkpoint-list g
  checkpoint-dumpxml g c1 --size
  checkpoint-info g c1
  checkpoint-parent g c2
  checkpoint-delete g c2
  checkpoint-delete g c1
  backup-begin g ${files}/backup.xml
  backup-dumpxml g
  domjobinfo g
  domjobinfo g --completed
`

const jobs = (files: string) => `
  migrate-setmaxdowntime g 300
  migrate-getmaxdowntime g
  migrate-setspeed g 100
  migrate-getspeed g
  migrate-compcache g
  migrate-postcopy g
  migrate g --live --p2p qemu+unix:///system?socket=${files}/nobody --migrateuri tcp://127.0.0.1:1 --unsafe
  domjobabort g
  dump g ${files}/core --memory-only --live
  save g ${files}/saved --paused
  save-image-dumpxml ${files}/saved
  save-image-define ${files}/saved ${files}/guest.xml
  restore ${files}/saved --paused
  managedsave g
  managedsave-dumpxml g
  start g
  managedsave g
  managedsave-remove g
  start g
  destroy g --graceful
  destroy g
  domrename g g2
  domrename g2 g
  domid g
  undefine g --nvram --snapshots-metadata --checkpoints-metadata
  create ${files}/guest.xml --paused
  destroy g
`

const objects = (files: string) => `
  secret-define ${files}/secret.xml
  secret-list
  secret-set-value 22222222-2222-4333-8444-555555555555 c2VjcmV0
  secret-get-value 22222222-2222-4333-8444-555555555555
  secret-dumpxml 22222222-2222-4333-8444-555555555555
  secret-undefine 22222222-2222-4333-8444-555555555555
  net-define ${files}/network.xml --validate
  net-define ${files}/network.xml
  net-list --all
  net-info n
  net-dumpxml n
  net-autostart n
  net-start n
  net-dhcp-leases n
  net-update n add-last portgroup '<portgroup name="p"/>' --config
  net-uuid n
  net-port-list n
  net-destroy n
  net-undefine n
  nwfilter-define ${files}/nwfilter.xml
  nwfilter-list
  nwfilter-dumpxml f
  nwfilter-binding-list
  nwfilter-undefine f
  nodedev-list
  nodedev-list --cap net
  nodedev-dumpxml computer
  nodedev-info computer
  nodedev-detach computer
  nodedev-reattach computer
  nodedev-reset computer
  nodedev-create ${files}/nodedev.xml
  nodedev-destroy nothing
  pool-define-as p dir --target ${files}/pool
  pool-build p
  pool-start p
  pool-autostart p
  pool-list --all
  pool-info p
  pool-dumpxml p
  pool-uuid p
  pool-refresh p
  pool-capabilities
  find-storage-pool-sources-as dir
  vol-create-as p v1 1M
  vol-list p
  vol-info v1 --pool p
  vol-dumpxml v1 --pool p
  vol-key v1 --pool p
  vol-path v1 --pool p
  vol-pool ${files}/pool/v1
  vol-upload v1 ${files}/network.xml --pool p
  vol-download v1 ${files}/downloaded --pool p
  vol-resize v1 2M --pool p
  vol-clone v1 v2 --pool p
  vol-wipe v2 --pool p
  vol-delete v2 --pool p
  vol-delete v1 --pool p
  pool-destroy p
  pool-delete p
  pool-undefine p
`

function definitions(files: string) {
  const disk = `
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${files}/disk'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' autoport='yes'/>
    <video><model type='vga'/></video>`
  return {
    'guest.xml': tinyGuest({ ...guest, devices: disk }).xml,
    'defined.xml': `<domain type='test'><name>d</name><memory>1024</memory><os><type>hvm</type></os></domain>`,
    'cpu.xml': `<cpu mode='custom' match='exact'><model>qemu64</model></cpu>`,
    'rng.xml': `<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng>`,
    'nic.xml': `<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>`,
    'backup.xml': `<domainbackup><disks><disk name='vda' type='file'><target file='${files}/backup'/></disk></disks></domainbackup>`,
    'secret.xml': `<secret private='no' ephemeral='yes'><uuid>22222222-2222-4333-8444-555555555555</uuid></secret>`,
    'network.xml': `<network><name>n</name><forward mode='bridge'/><bridge name='lo'/></network>`,
    'nwfilter.xml': `<filter name='f'><rule action='drop' direction='in'/></filter>`,
    'nodedev.xml': `<device><parent>computer</parent><capability type='mdev'><type id='none'/></capability></device>`
  }
}

const qcow2 = (path: string) => ['create', '-q', '-f', 'qcow2', path, '4M']

/** What a program prints, whether it succeeds or not. Its input is empty. */
function run(command: string, args: string[]): Promise<string> {
  return new Promise(resolve => {
    const options = { timeout: 60_000, maxBuffer: 64 * 2 ** 20, env: { ...process.env, LC_ALL: 'C' } }
    const child = execFile(command, args, options, (_, stdout, stderr) => resolve(stdout + stderr))
    child.stdin?.end()
  })
}

/** Starts a program; the result ends it and gives what it printed. */
function background(command: string, args: string[]): () => Promise<string> {
  let child: ReturnType<typeof execFile> | undefined
  const ended = new Promise<string>(resolve => {
    child = execFile(command, args, (_, stdout, stderr) => resolve(stdout + stderr))
  })
  return () => {
    child?.kill('SIGINT')
    return ended
  }
}
