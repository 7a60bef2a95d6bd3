import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import type { StorageDomain__Output as StorageDomain } from '../../proto/generated/types/drover/v1/StorageDomain.js'
import { Lab } from './lab.js'
import type { ProgressOf } from './progress.js'
import { World } from './world.js'

const quiet: ProgressOf = () => {}

// Small chunks, so that a slow guest comes to the end of them within seconds.
const thinConfig = `thin_initial_mib = 768
thin_least_chunk_mib = 128
thin_most_chunk_mib = 256
`

/** A lab whose hosts share a LUN: a loop device of this machine, which every host sees under the same name. */
export class LoopLab extends Lab {
  async attachLun(size: number): Promise<string> {
    const file = join(this.shared, 'lun')
    await writeFile(file, '')
    await truncate(file, size)
    const { stdout } = await execa('losetup', ['--find', '--show', '--direct-io=on', file], {
      timeout: 60_000
    })
    return stdout.trim()
  }
}

/**
 * Block storage on hosts of namespaces: LVM, sanlock, mailbox, QEMU and its events are real; the LUN is a loop device and
 * so are its logical volumes, for this kernel may have no device-mapper and no SCSI.
 */
export class LoopWorld extends World {
  override readonly lab: LoopLab
  lun = ''
  dataDisk = ''

  constructor(name: string) {
    const lab = new LoopLab(name)
    super(lab, ['h1', 'h2'], 5)
    this.lab = lab
  }

  override async install(): Promise<void> {
    await super.install()
    for (const host of this.hypervisors)
      await this.lab.shell(host, 'cat >/etc/drover/conf.d/thin.toml; systemctl try-restart drover-agent', {
        input: thinConfig
      })
  }

  async findLun(): Promise<string> {
    this.lun = await this.lab.attachLun(64 * 2 ** 30)
    return `${this.lun} stands in for a LUN, as loop devices do for device-mapper: no iSCSI in this run`
  }

  override async createStorage(progress = quiet): Promise<StorageDomain> {
    const [first = ''] = this.hypervisors
    const job = await this.api.job(
      this.services.storageDomain.CreateStorageDomain,
      {
        storageDomain: {
          name: 'san',
          connection: { block: { devices: [this.lun] } },
          ioTimeoutSeconds: 1
        },
        hostId: this.hostIds.get(first) ?? ''
      },
      progress,
      240
    )
    this.ids.storageDomain = job.objects['storageDomain'] ?? ''
    return this.whenStorageActive(progress)
  }

  /** A file of the first host, for a VG takes no uploads. */
  override async importGuest(_data: Buffer, progress = quiet): Promise<Job> {
    const [host = ''] = this.hypervisors
    const folder = '/var/lib/drover/import'
    await this.lab.shell(host, `mkdir -p ${folder}; cp /lab/files/guest.qcow2 ${folder}/`)
    const open = {
      ...{
        name: 'linux',
        storageDomainId: this.ids.storageDomain,
        sourceFormat: 'DISK_FORMAT_QCOW2' as const
      },
      ...{ hostPath: `${folder}/guest.qcow2`, hostId: this.hostIds.get(host) ?? '' }
    }
    return this.api.importDisk(open, Buffer.alloc(0), progress, this.patience * 120)
  }

  /** The data disk is made last: what stands in for device-mapper wants it in one piece, also when it has grown. */
  override async createVm(name: string, progress = quiet): Promise<string> {
    const vmId = await super.createVm(name, progress)
    const disk = await this.api.job(
      this.services.disk.CreateDisk,
      {
        disk: {
          ...{ name: 'data', storageDomainId: this.ids.storageDomain, capacity: String(512 * 2 ** 30) },
          ...{ format: 'DISK_FORMAT_QCOW2' as const, allocation: 'ALLOCATION_POLICY_THIN' as const }
        }
      },
      progress,
      this.patience * 120
    )
    this.dataDisk = disk.objects['disk'] ?? ''
    await this.api.ask(this.services.vm.AttachDisk, {
      requestId: randomUUID(),
      vmId,
      attachment: { diskId: this.dataDisk }
    })
    return vmId
  }
}
