import { unary } from '../../common/rpc.js'
import { taskMessage } from '../task-message.js'
import type { StorageVerbs } from './storage.js'
import { commandOf } from './storage-tasks.js'

const most = BigInt(Number.MAX_SAFE_INTEGER)
const shared = (id: string) => [{ level: 'storageDomain' as const, id, mode: 'shared' as const }]

export function leaseHandlers({ leases, tasks }: StorageVerbs) {
  const onLease = (
    method: string,
    work: (id: string, leaseId: string, signal: AbortSignal) => Promise<Record<string, string>>
  ) =>
    unary({
      check: fields => ({ ...commandOf(fields), leaseId: fields.uuid('leaseId') }),
      method: async ({ stamp, storageDomainId: id, leaseId }) => {
        const plan = { stamp, kind: `StorageService.${method}`, content: { id, leaseId } }
        const rest = { objects: { storageDomain: id, lease: leaseId }, locks: shared(id) }
        return taskMessage(
          await tasks.run({ ...plan, ...rest, work: ({ signal }) => work(id, leaseId, signal) })
        )
      }
    })

  return {
    createLease: onLease('CreateLease', (id, leaseId, signal) => leases.create(id, leaseId, signal)),
    removeLease: onLease('RemoveLease', (id, leaseId) => leases.remove(id, leaseId)),
    awaitLease: onLease('AwaitLease', (id, leaseId, signal) => leases.await(id, leaseId, signal)),
    listLeases: unary({
      check: fields => fields.uuid('storageDomainId'),
      method: async (id, { signal }) => {
        const found = await leases.list(id, signal)
        const messages = found.map(({ leaseId, offset, owner }) => ({
          leaseId,
          offsetBytes: String(offset),
          ownerSanlockHostId: owner?.sanlockHostId ?? 0,
          ownerGeneration: String(owner?.generation ?? 0)
        }))
        return { leases: messages.toSorted((a, b) => (a.leaseId < b.leaseId ? -1 : 1)) }
      }
    }),
    clearHostLease: unary({
      check: fields => ({
        ...commandOf(fields),
        sanlockHostId: fields.integer('sanlockHostId', 1, 249),
        hostName: fields.matching('hostName', /^[\x21-\x7e]{1,48}$/, 'must be 1 to 48 printable characters'),
        generation: Number(fields.int64('generation', 1n, most)),
        timestamp: Number(fields.int64('timestamp', 1n, most)),
        proofId: fields.uuid('proofId')
      }),
      method: async ({ stamp, storageDomainId: id, ...request }) => {
        const plan = { stamp, kind: 'StorageService.ClearHostLease', content: { id, ...request } }
        const rest = { objects: { storageDomain: id }, locks: shared(id) }
        return taskMessage(await tasks.run({ ...plan, ...rest, work: () => leases.clearHost(id, request) }))
      }
    })
  }
}
