import { unary } from '../../common/rpc.js'
import { taskMessage } from '../task-message.js'
import { connectionOf } from './storage-fields.js'
import type { StorageVerbs } from './storage.js'
import { commandOf, exclusive } from './storage-tasks.js'

/** Older formats: what bringing one to V5 would change, and doing it. */
export function conversionHandlers({ storage, tasks }: StorageVerbs) {
  return {
    planConversion: unary({
      check: fields => ({ id: fields.uuid('storageDomainId'), connection: connectionOf(fields) }),
      method: async ({ id, connection }, { signal }) => {
        const { from, changes, obstacle } = await storage.convert(id, connection, false, signal)
        return { fromVersion: from, changes, obstacle: obstacle ?? '' }
      }
    }),
    convertStorageDomain: unary({
      check: fields => ({ ...commandOf(fields), connection: connectionOf(fields) }),
      method: async ({ stamp, storageDomainId: id, connection }) => {
        const task = await tasks.run({
          ...{ stamp, kind: 'StorageService.ConvertStorageDomain', content: { id, connection } },
          ...{ objects: { storageDomain: id }, locks: exclusive(id) },
          work: async ({ signal }) => {
            const { from } = await storage.convert(id, connection, true, signal)
            return { from_version: String(from) }
          }
        })
        return taskMessage(task)
      }
    })
  }
}
