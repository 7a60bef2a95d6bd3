import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import type { StorageDomain__Output as StorageDomain } from '../../../proto/generated/types/drover/v1/StorageDomain.js'
import { root } from '../../root.js'
import { buildGuest, poll } from '../lab.js'
import type { ProgressOf } from '../progress.js'
import { World } from '../world.js'
import { VmLab } from './vm-lab.js'

export const iqn = 'iqn.2026-01.org.drover:block'
const quiet: ProgressOf = () => {}

// Emulated SVM runs guests, as the lab has tried; the agent's own probe of five seconds is too short under emulation.
const agentConfig = `accelerator = "kvm"
unsafe_ha_without_watchdog = true
thin_least_chunk_mib = 128
thin_most_chunk_mib = 256
`
const prepare = `
modprobe -a iscsi_tcp sd_mod sg dm_mod kvm_amd bridge tun
address=$(ip -4 -o addr show eth0 | awk '{ print $4 }')
ip link add br0 type bridge
ip addr flush dev eth0
ip link set eth0 master br0
ip addr add "$address" dev br0
ip link set br0 up
echo 'sanlock_opts="-w 0"' >/etc/default/sanlock
echo "InitiatorName=iqn.2026-01.org.drover:$(hostname)" >/etc/iscsi/initiatorname.iscsi
systemd-tmpfiles --create /usr/lib/tmpfiles.d/drover-common.conf
/usr/lib/drover/configure-host
mkdir -p /etc/drover/conf.d /var/lib/drover/import /etc/systemd/system/drover-agent.service.d
cat >/etc/drover/conf.d/lab.toml
# Node.js under emulation, on a machine that is busy: minutes, which say nothing about the unit.
printf '[Service]\\nTimeoutStartSec=600\\nWatchdogSec=240\\n' >/etc/systemd/system/drover-agent.service.d/lab.conf
systemctl daemon-reload
systemctl start iscsid sanlock libvirtd
`

/** The lab of block storage: an iSCSI target, two hypervisors and a coordinator, each a machine of its own. */
export class BlockWorld extends World {
  override readonly lab: VmLab
  lun = ''
  dataDisk = ''

  constructor(name: string) {
    const lab = new VmLab(name, { stor: 30, h1: 31, h2: 32 })
    super(lab, ['h1', 'h2'], 5)
    this.lab = lab
  }

  override async boot(): Promise<void> {
    const { lab } = this
    await execa(join(root, 'test/lab/setup.sh'), ['full'], { timeout: 1_200_000 })
    await lab.up('coord')
    await execa(join(root, 'test/lab/vm/unpack.sh'), [join(lab.files, 'over')], { timeout: 60_000 })
    const [stor, h1, h2] = ['stor', 'h1', 'h2'].map(host => lab.vm(host))
    await stor?.up({ memory: 512, qemu: await stor.disk('lun', '24G') })
    for (const host of [h1, h2]) await host?.up({ memory: 1280 })
    await buildGuest(join(lab.files, 'guest.qcow2'))
    await Promise.all([stor, h1, h2].map(host => host?.ready(600)))
  }

  override async install(): Promise<void> {
    const { lab } = this
    for (const name of readdirSync(join(root, 'build')).filter(name => name.endsWith('.deb')))
      copyFileSync(join(root, 'build', name), join(lab.files, name))
    mkdirSync(lab.shared, { recursive: true })
    const target = readFileSync(join(root, 'test/lab/vm/iscsi-lun.sh'), 'utf8')
    const coordinator = `export DROVER_NODE=${process.execPath}
      dpkg -i /lab/files/drover-common_*.deb /lab/files/drover-coordinator_*.deb`
    await Promise.all([
      lab.shell('coord', coordinator, { seconds: 180 }),
      lab.shell('stor', `address=${await lab.address('stor')}\n${target}`, { seconds: 180 }),
      ...this.hypervisors.map(host =>
        lab.shell(host, `${prepare}cp /lab/files/guest.qcow2 /var/lib/drover/import/`, {
          seconds: 300,
          input: agentConfig
        })
      )
    ])
  }

  /** A host that is slow to answer is not a host that is gone. */
  override async createCluster(): Promise<void> {
    const cluster = await this.api.ask(this.services.cluster.CreateCluster, {
      requestId: randomUUID(),
      cluster: { name: 'demo', ha: { silenceSeconds: 30, fencingEnabled: false, startGraceSeconds: 1 } }
    })
    this.ids.cluster = cluster.clusterId
  }

  override async enrolHost(name: string): Promise<void> {
    const created = await this.api.ask(this.services.host.CreateHost, {
      requestId: randomUUID(),
      host: { name, clusterId: this.ids.cluster }
    })
    this.hostIds.set(name, created.host?.hostId ?? '')
    const coordinator = `${await this.lab.address('coord')}:7443`
    await this.lab.shell(
      name,
      `cat >/run/token; drover-agent enrol --token-file /run/token --coordinator ${coordinator} \\
        --ca-fingerprint ${created.caFingerprint} --address ${await this.lab.address(name)}:7444
      rm /run/token; systemctl start --no-block drover-agent`,
      { input: created.token, seconds: 400 }
    )
  }

  override whenUp(name: string, seconds = 600) {
    return super.whenUp(name, seconds)
  }

  /** Each host finds the target and logs in to it; the first says what it sees. Its WWID, size and state. */
  async findLun(): Promise<string> {
    const { api, services } = this
    const [first = ''] = this.hypervisors
    const portal = `${await this.lab.address('stor')}:3260`
    const { portals } = await api.ask(services.san.DiscoverIscsi, { hostId: first, portal }, 120)
    for (const hostId of this.hypervisors) {
      const { failed } = await api.ask(
        services.san.LoginIscsi,
        { requestId: randomUUID(), hostId, portals },
        180
      )
      if (failed.length > 0) throw new Error(failed.join('; '))
    }
    const { luns } = await api.ask(services.san.ListLuns, { hostId: first, rescan: true }, 180)
    const lun = luns.find(({ transport }) => transport === 'iscsi')
    if (!lun) throw new Error(`no LUN in ${JSON.stringify(luns)}`)
    this.lun = lun.wwid
    return `${portals.map(({ iqn, host }) => `${iqn} at ${host}`).join(', ')}; LUN ${lun.wwid}, ${Number(lun.sizeBytes) / 2 ** 30} GiB`
  }

  override async createStorage(progress = quiet): Promise<StorageDomain> {
    const [first = ''] = this.hypervisors
    const portals = [{ iqn, host: await this.lab.address('stor'), port: 3260, group: 1 }]
    const job = await this.api.job(
      this.services.storageDomain.CreateStorageDomain,
      {
        storageDomain: {
          name: 'san',
          connection: { iscsi: { portals, luns: [this.lun] } },
          ioTimeoutSeconds: 5
        },
        hostId: this.hostIds.get(first) ?? ''
      },
      progress,
      900
    )
    this.ids.storageDomain = job.objects['storageDomain'] ?? ''
    return poll('the storage domain active on all hosts', 400, async () => {
      const seen = await this.storageDomain()
      progress(seen.status)
      const ready = seen.hosts.filter(({ health }) => health === 'STORAGE_DOMAIN_HEALTH_ACTIVE')
      const isActive = seen.status === 'STORAGE_DOMAIN_STATUS_ACTIVE'
      return isActive && ready.length === this.hypervisors.length ? seen : null
    })
  }

  /** A file of the first host, for a VG takes no uploads. */
  override importGuest(_data: Buffer, progress = quiet): Promise<Job> {
    const [host = ''] = this.hypervisors
    const open = {
      ...{
        name: 'linux',
        storageDomainId: this.ids.storageDomain,
        sourceFormat: 'DISK_FORMAT_QCOW2' as const
      },
      ...{ hostPath: '/var/lib/drover/import/guest.qcow2', hostId: this.hostIds.get(host) ?? '' }
    }
    return this.api.importDisk(open, Buffer.alloc(0), progress, this.patience * 120)
  }

  /** The usual VM with a second disk, thin and empty, that its guest fills. */
  override async createVm(name: string, progress = quiet): Promise<string> {
    const disk = await this.api.job(
      this.services.disk.CreateDisk,
      {
        disk: {
          ...{ name: 'data', storageDomainId: this.ids.storageDomain, capacity: String(16 * 2 ** 30) },
          ...{ format: 'DISK_FORMAT_QCOW2' as const, allocation: 'ALLOCATION_POLICY_THIN' as const }
        }
      },
      progress,
      this.patience * 120
    )
    this.dataDisk = disk.objects['disk'] ?? ''
    return super.createVm(name, progress)
  }

  override get moreDisks(): string[] {
    return [this.dataDisk]
  }

  storageDomain(): Promise<StorageDomain> {
    return this.api.ask(this.services.storageDomain.GetStorageDomain, {
      storageDomainId: this.ids.storageDomain
    })
  }
}
