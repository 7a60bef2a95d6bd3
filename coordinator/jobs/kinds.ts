import {
  adoptStorageDomain,
  createStorageDomain,
  type AddStorageDomain,
  type AdoptStorageDomain
} from './add-storage-domain.js'
import { changeCd, type ChangeCd } from './change-cd.js'
import { changeDevice, type ChangeDevice } from './change-device.js'
import { deleteDisk, resizeDisk, type DeleteDisk, type ResizeDisk } from './change-disk.js'
import { copyDisk, createDisk, type CreateDisk } from './create-disk.js'
import { createVm, type CreateVm } from './create-vm.js'
import { deleteVm, type DeleteVm } from './delete-vm.js'
import {
  activateHost,
  deactivateHost,
  joinStorage,
  type ActivateHost,
  type DeactivateHost,
  type Evacuate,
  type JoinStorage
} from './host-maintenance.js'
import { confirmStopped, fenceHost, type ConfirmStopped, type FenceHost } from './host-power.js'
import { importDisk, type ImportDisk } from './import-disk.js'
import { createTemplate, deleteTemplate, type CreateTemplate, type DeleteTemplate } from './make-template.js'
import { migrateVm, type MigrateVm } from './migrate-vm.js'
import { restartVm, type RestartVm } from './restart-vm.js'
import { ensureLease, type EnsureLease } from './ensure-lease.js'
import type { Jobs, Kinds } from './runner.js'
import { repairStorageDomain, type RepairStorageDomain } from './repair-storage-domain.js'
import { createSnapshot, deleteSnapshot, type CreateSnapshot, type DeleteSnapshot } from './snapshot-vm.js'
import { startVm, type StartVm } from './start-vm.js'
import { stopVm, type StopVm } from './stop-vm.js'
import {
  activateStorageDomain,
  deactivateStorageDomain,
  deleteStorageDomain,
  type DeleteStorageDomain,
  type ServeStorageDomain
} from './storage-domain-service.js'
import { pauseVm, rebootVm, resetVm, resumeVm, type VmCommand } from './vm-commands.js'
import { upgradeCluster, type UpgradeCluster } from './upgrade-cluster.js'
import { upgradeHost, type UpgradeHost } from './upgrade-host.js'
import type { ChildJobs } from './child-jobs.js'
import type { JobWorld } from './world.js'

/** All kinds of jobs, with what each of them has to know. */
export type JobContexts = {
  'vm.create': CreateVm
  'vm.delete': DeleteVm
  'vm.ensure_lease': EnsureLease
  'vm.start': StartVm
  'vm.restart': RestartVm
  'vm.stop': StopVm
  'vm.reboot': VmCommand
  'vm.reset': VmCommand
  'vm.pause': VmCommand
  'vm.resume': VmCommand
  'vm.migrate': MigrateVm
  'vm.change_cd': ChangeCd
  'disk.create': CreateDisk
  'disk.copy': CreateDisk
  'disk.resize': ResizeDisk
  'disk.delete': DeleteDisk
  'disk.import': ImportDisk
  'template.create': CreateTemplate
  'template.delete': DeleteTemplate
  'snapshot.create': CreateSnapshot
  'snapshot.delete': DeleteSnapshot
  'storage_domain.create': AddStorageDomain
  'storage_domain.adopt': AdoptStorageDomain
  'storage_domain.activate': ServeStorageDomain
  'storage_domain.deactivate': ServeStorageDomain
  'storage_domain.delete': DeleteStorageDomain
  'storage_domain.change_device': ChangeDevice
  'storage_domain.repair': RepairStorageDomain
  'host.deactivate': DeactivateHost
  'host.activate': ActivateHost
  'host.join_storage': JoinStorage
  'host.fence': FenceHost
  'host.upgrade': UpgradeHost
  'cluster.upgrade': UpgradeCluster
  'host.confirm_stopped': ConfirmStopped
}
export type JobKind = keyof JobContexts
export type AllJobs = Jobs<JobContexts>

export function kindsOf(world: JobWorld, evacuate: Evacuate, children: ChildJobs): Kinds<JobContexts> {
  return {
    'vm.create': createVm(world),
    'vm.delete': deleteVm(world),
    'vm.ensure_lease': ensureLease(world),
    'vm.start': startVm(world),
    'vm.restart': restartVm(world),
    'vm.stop': stopVm(world),
    'vm.reboot': rebootVm(world),
    'vm.reset': resetVm(world),
    'vm.pause': pauseVm(world),
    'vm.resume': resumeVm(world),
    'vm.migrate': migrateVm(world),
    'vm.change_cd': changeCd(world),
    'disk.create': createDisk(world),
    'disk.copy': copyDisk(world),
    'disk.resize': resizeDisk(world),
    'disk.delete': deleteDisk(world),
    'disk.import': importDisk(world),
    'template.create': createTemplate(world),
    'template.delete': deleteTemplate(world),
    'snapshot.create': createSnapshot(world),
    'snapshot.delete': deleteSnapshot(world),
    'storage_domain.create': createStorageDomain(world),
    'storage_domain.adopt': adoptStorageDomain(world),
    'storage_domain.activate': activateStorageDomain(world),
    'storage_domain.deactivate': deactivateStorageDomain(world),
    'storage_domain.delete': deleteStorageDomain(world),
    'storage_domain.change_device': changeDevice(world),
    'storage_domain.repair': repairStorageDomain(world),
    'host.deactivate': deactivateHost(world, evacuate),
    'host.activate': activateHost(world),
    'host.join_storage': joinStorage(world),
    'host.fence': fenceHost(world),
    'host.upgrade': upgradeHost(world, children),
    'cluster.upgrade': upgradeCluster(world, children),
    'host.confirm_stopped': confirmStopped(world)
  }
}
