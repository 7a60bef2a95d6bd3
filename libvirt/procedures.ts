import { blockProcedures } from './procedures/block.js'
import { devicesProcedures } from './procedures/devices.js'
import { domainJobsProcedures } from './procedures/domain-jobs.js'
import { domainProcedures } from './procedures/domain.js'
import { guestProcedures } from './procedures/guest.js'
import { hostProcedures } from './procedures/host.js'
import { objectsProcedures } from './procedures/objects.js'
import { otherProcedures } from './procedures/others.js'
import { qemuProcedures } from './procedures/qemu.js'
import { storageProcedures } from './procedures/storage.js'

/** Every procedure that we can call, by libvirt's name in camel case. */
export const procedures = {
  ...hostProcedures,
  ...domainProcedures,
  ...devicesProcedures,
  ...blockProcedures,
  ...domainJobsProcedures,
  ...guestProcedures,
  ...objectsProcedures,
  ...storageProcedures,
  ...otherProcedures,
  ...qemuProcedures
}
export type ProcedureName = keyof typeof procedures
