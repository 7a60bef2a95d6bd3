import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { SnapshotServiceDefinition } from '../../proto/generated/types/drover/v1/SnapshotService.js'
import type { MergedDisk, SnapshotDisk } from '../jobs/snapshot-vm.js'
import type { Claim } from '../store/claims.js'
import { childrenOf, disk as diskOf } from '../store/disks.js'
import { resolveId } from '../store/names.js'
import { sql, type Tx } from '../store/query.js'
import { insertSnapshot, snapshot as snapshotOf, snapshotsOf, withDisks } from '../store/snapshots.js'
import { vmDisks } from '../store/vms.js'
import type { Lists, ListSpec } from './list.js'
import { snapshotMessage } from './messages.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { throwIfShared } from './shared-disks.js'
import { downVm, roomyDomain } from './vm-checks.js'
import type { Who } from './vm-orders.js'

const spec: ListSpec = {
  filters: { vm_id: { column: 'vmId', kind: 'id' }, name: { column: 'name', kind: 'text' } },
  orders: { created: 'created' },
  standardOrder: 'created',
  id: 'id'
}

/** The chain of a disk: longer ones make every read slow (reliability.md, A41). */
const longestChain = 65
const mostSnapshots = 50

const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })

export function snapshotService(workshop: Workshop, lists: Lists): Handlers<SnapshotServiceDefinition> {
  const { store } = workshop.mutations
  return {
    createSnapshot: unary({
      check: fields =>
        asked(
          fields,
          fields.message('snapshot', it => ({ vmId: it.uuid('vmId'), name: it.name('name') }))
        ),
      method: async (request, context) =>
        orderedJob(workshop, 'CreateSnapshot', request, context, (tx, who) =>
          orderSnapshot(workshop, tx, request.content, who)
        )
    }),
    getSnapshot: unary({
      check: fields => fields.idOrName('snapshotId'),
      method: async name =>
        snapshotMessage(store.read, snapshotOf(store.read, resolveId(store.read, 'snapshot', name)))
    }),
    listSnapshots: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('snapshot').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        const snapshots = withDisks(store.read, rows).map(row => snapshotMessage(store.read, row))
        return { snapshots, nextPageToken }
      }
    }),
    deleteSnapshot: unary({
      check: fields => asked(fields, { snapshotId: fields.uuid('snapshotId') }),
      method: async (request, context) =>
        orderedJob(workshop, 'DeleteSnapshot', request, context, (tx, who) =>
          orderRemoval(workshop, tx, request.content.snapshotId, who)
        )
    })
  }
}

function orderSnapshot(
  { jobs, mutations: { clock } }: Workshop,
  tx: Tx,
  { vmId, name }: { vmId: string; name: string },
  who: Who
): string {
  const vm = downVm(tx, vmId, 'take a snapshot')
  if (snapshotsOf(tx, vmId).length >= mostSnapshots) {
    throw new Fault('WRONG_STATE', `VM ${vm.name} has ${mostSnapshots} snapshots, which is the most`)
  }
  const attached = vmDisks(tx, vmId)
  throwIfShared(tx, attached, 'snapshots')
  const disks = attached
    .filter(({ isReadOnly }) => !isReadOnly)
    .map(({ diskId }): SnapshotDisk => {
      const { name: diskName, status, storageDomainId, capacity, volumeId, chainLength } = diskOf(tx, diskId)
      if (status !== 'ok') throw new Fault('WRONG_STATE', `disk ${diskName} is ${status}`)
      if (chainLength >= longestChain) {
        throw new Fault(
          'WRONG_STATE',
          `the chain of disk ${diskName} has ${chainLength} volumes, which is the most`
        )
      }
      roomyDomain(tx, storageDomainId)
      return { diskId, storageDomainId, capacity, frozenVolumeId: volumeId, leafVolumeId: clock.newId() }
    })
  if (disks.length === 0) throw new Fault('WRONG_STATE', `VM ${vm.name} has no disk to take a snapshot of`)
  const snapshotId = clock.newId()
  const frozen = disks.map(({ diskId, frozenVolumeId: volumeId }) => ({ diskId, volumeId }))
  insertSnapshot(tx, { id: snapshotId, vmId, name, phase: 'creating', created: clock.wall() }, frozen)
  return jobs.create(tx, 'snapshot.create', {
    context: { snapshotId, vmId, hostId: null, disks },
    objects: { snapshot: snapshotId, vm: vmId },
    claims: claimsOn(vmId, snapshotId, disks),
    ...who
  })
}

function orderRemoval({ jobs }: Workshop, tx: Tx, snapshotId: string, who: Who): string {
  const { vmId, disks: frozen, phase } = snapshotOf(tx, snapshotId)
  downVm(tx, vmId, 'remove a snapshot')
  if (phase === 'creating') throw new Fault('WRONG_STATE', 'the snapshot is still being made')
  const disks = frozen.map(({ diskId, volumeId }): MergedDisk => {
    const children = childrenOf(tx, volumeId).filter(child => child.diskId === diskId)
    const [top] = children
    if (!top || children.length > 1) {
      throw new Fault(
        'WRONG_STATE',
        `${children.length} volumes lie over the snapshot on disk ${diskId} instead of one`
      )
    }
    const { storageDomainId } = diskOf(tx, diskId)
    return { diskId, storageDomainId, baseVolumeId: volumeId, topVolumeId: top.id }
  })
  return jobs.create(tx, 'snapshot.delete', {
    context: { snapshotId, vmId, hostId: null, disks },
    objects: { snapshot: snapshotId, vm: vmId },
    claims: claimsOn(vmId, snapshotId, disks),
    ...who
  })
}

const claimsOn = (vmId: string, snapshotId: string, disks: ReadonlyArray<{ diskId: string }>): Claim[] => [
  { type: 'vm', id: vmId, mode: 'change' },
  { type: 'snapshot', id: snapshotId, mode: 'change' },
  ...disks.map(({ diskId }): Claim => ({ type: 'disk', id: diskId, mode: 'change' }))
]
