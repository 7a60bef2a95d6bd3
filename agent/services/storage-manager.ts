import { Fault } from '../../common/fault.js'
import { unary } from '../../common/rpc.js'
import { commandOf } from './storage-tasks.js'
import type { StorageVerbs } from './storage.js'

/** Which storage domains this host is to manage. */
export function managerHandlers({ storage, requests, manager }: StorageVerbs) {
  return {
    preferManager: unary({
      check: fields => ({ ...commandOf(fields), isPreferred: fields.bool('preferred') }),
      method: async ({ stamp, storageDomainId: id, isPreferred }) => {
        const request = {
          ...{ stamp, kind: 'StorageService.PreferManager', content: { id, isPreferred } },
          objects: { storageDomain: id }
        }
        return requests.once(request, async () => {
          if (storage.state(id).health === 'inactive')
            throw new Fault('WRONG_STATE', `storage domain ${id} is not active on this host`)
          manager.prefer(id, isPreferred)
          return {}
        })
      }
    })
  }
}
