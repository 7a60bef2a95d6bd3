import { deleteDisk, resizeDisk, type DeleteDisk, type ResizeDisk } from './change-disk.js'
import { copyDisk, createDisk, type CreateDisk } from './create-disk.js'
import { createVm, type CreateVm } from './create-vm.js'
import { deleteVm, type DeleteVm } from './delete-vm.js'
import { migrateVm, type MigrateVm } from './migrate-vm.js'
import { restartVm, type RestartVm } from './restart-vm.js'
import { ensureLease, type EnsureLease } from './ensure-lease.js'
import type { Jobs, Kinds } from './runner.js'
import { startVm, type StartVm } from './start-vm.js'
import { stopVm, type StopVm } from './stop-vm.js'
import { pauseVm, rebootVm, resetVm, resumeVm, type VmCommand } from './vm-commands.js'
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
  'disk.create': CreateDisk
  'disk.copy': CreateDisk
  'disk.resize': ResizeDisk
  'disk.delete': DeleteDisk
}
export type JobKind = keyof JobContexts
export type AllJobs = Jobs<JobContexts>

export function kindsOf(world: JobWorld): Kinds<JobContexts> {
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
    'disk.create': createDisk(world),
    'disk.copy': copyDisk(world),
    'disk.resize': resizeDisk(world),
    'disk.delete': deleteDisk(world)
  }
}
