import { unary } from '../../common/rpc.js'
import type { FoundVm__Output } from '../../proto/generated/types/drover/agent/v1/FoundVm.js'
import { agentServices } from '../../proto/load.js'
import type { Hosts } from '../jobs/hosts.js'
import { storageHost } from '../jobs/placement.js'
import { diskOrNull } from '../store/disks.js'
import { resolveId } from '../store/names.js'
import type { Reader } from '../store/query.js'
import type { Store } from '../store/store.js'
import { templateOrNull } from '../store/templates.js'
import { vmOrNull } from '../store/vms.js'

/** VMs and templates on a storage domain that nobody has registered. */
export function unregisteredVms(store: Store, hosts: Hosts) {
  return {
    listUnregisteredVms: unary({
      check: fields => fields.idOrName('storageDomainId', 64),
      method: async (name, { signal }) => {
        const storageDomainId = resolveId(store.read, 'storageDomain', name)
        const hostId = storageHost(store.read, [storageDomainId], 0)
        const { ListFoundVms } = agentServices.storage
        const { vms } = await hosts.call(hostId, ListFoundVms, { storageDomainId }, signal)
        const unknown = vms.filter(
          ({ vmId }) => !vmOrNull(store.read, vmId) && !templateOrNull(store.read, vmId)
        )
        return {
          vms: unknown.map(vm => ({ ...vm, problem: vm.problem || problemOf(store.read, vm) }))
        }
      }
    })
  }
}

function problemOf(reader: Reader, { disks, template }: FoundVm__Output): string {
  if (template) return 'templates are not registered; VMs made from them are'
  for (const { diskId } of disks) {
    const disk = diskOrNull(reader, diskId)
    if (!disk) return `disk ${diskId} is not here`
    if (disk.problem !== '') return `disk ${diskId}: ${disk.problem}`
    if (disk.vmId !== '') return `disk ${diskId} belongs to VM ${disk.vmId}`
  }
  return ''
}
