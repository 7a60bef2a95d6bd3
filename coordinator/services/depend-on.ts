import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { uuidRule } from '../../common/rules.js'
import { cycleThrough } from '../dependencies.js'
import { dependencies, replaceNeeded } from '../store/dependencies.js'
import type { Tx } from '../store/query.js'
import { vm } from '../store/vms.js'
import { ownVm } from './vm-checks.js'

const mostNeeded = 16

export const readDependsOn = (fields: Fields) => fields.each('dependsOnVmIds', mostNeeded, uuidRule)

/** A circle would keep all of its VMs down for ever: it is refused with its names. */
export function dependOn(tx: Tx, vmId: string, needed: readonly string[]): void {
  for (const id of needed) ownVm(tx, id)
  const cycle = cycleThrough(dependencies(tx), vmId, needed)
  if (cycle) {
    const names = cycle.map(id => vm(tx, id).name).join(' needs ')
    throw new Fault('INVALID_REQUEST', `VMs would need each other in a circle: ${names}`, {
      violations: [{ field: 'vm.depends_on_vm_ids', description: `must not lead back to the VM: ${names}` }]
    })
  }
  replaceNeeded(tx, vmId, needed)
}
