import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import { agentServices } from '../../proto/load.js'
import type { Hosts } from '../jobs/hosts.js'
import { storageHost } from '../jobs/placement.js'
import { doctorScope } from '../jobs/repair-storage-domain.js'
import { resolveId } from '../store/names.js'
import { storageDomain } from '../store/storage-domains.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { throwUnless } from './storage-domain-orders.js'

const mostRepairs = 2000
const kindShape = /^[a-z][A-Za-z]{1,31}$/

/** What is wrong with a storage domain, as a host sees it, and the job that puts it right. */
export function storageDoctor(workshop: Workshop, hosts: Hosts) {
  const { store } = workshop.mutations
  return {
    diagnoseStorageDomain: unary({
      check: fields => fields.idOrName('storageDomainId', 64),
      method: async (name, { signal }) => {
        const storageDomainId = resolveId(store.read, 'storageDomain', name)
        const hostId = storageHost(store.read, [storageDomainId], 0)
        const request = { storageDomainId, scope: doctorScope(store.read) }
        return hosts.call(hostId, agentServices.storage.DiagnoseStorageDomain, request, signal)
      }
    }),
    repairStorageDomain: unary({
      check: fields => ({ requestId: fields.uuid('requestId'), content: readRepair(fields) }),
      method: async (request, context) =>
        orderedJob(workshop, 'RepairStorageDomain', request, context, (tx, who) => {
          const { id, repairs } = request.content
          throwUnless(storageDomain(tx, id), ['active'], 'be repaired')
          return workshop.jobs.create(tx, 'storage_domain.repair', {
            context: { storageDomainId: id, hostId: null, repairs, told: {} },
            objects: { storageDomain: id },
            claims: [{ type: 'storageDomain', id, mode: 'change' }],
            ...who
          })
        })
    })
  }
}

const readRepair = (fields: Fields) => ({
  id: fields.uuid('storageDomainId'),
  repairs: fields.list(
    'repairs',
    mostRepairs,
    repair => ({
      kind: repair.matching('kind', kindShape, 'must be a kind that DiagnoseStorageDomain names'),
      object: repair.uuid('object')
    }),
    1
  )
})
