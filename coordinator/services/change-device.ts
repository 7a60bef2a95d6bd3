import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import type { Context } from '../../common/rpc.js'
import { type Rule, wwidRule } from '../../common/rules.js'
import { agentServices } from '../../proto/load.js'
import { type DeviceChange, wireChange } from '../jobs/change-device.js'
import type { Hosts } from '../jobs/hosts.js'
import { numberOf } from '../jobs/storage-host.js'
import { storageHost } from '../jobs/placement.js'
import { job } from '../store/jobs.js'
import type { Reader } from '../store/query.js'
import { storageDomain, type StorageConnection, type StorageDomain } from '../store/storage-domains.js'
import { jobMessage } from './messages.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { plannedJob } from './planned-job.js'
import { someHost, throwUnless } from './storage-domain-orders.js'
import { deviceRule } from './storage-fields.js'

const changes = {
  DEVICE_CHANGE_ADD: 'add',
  DEVICE_CHANGE_RESIZE: 'resize',
  DEVICE_CHANGE_REMOVE: 'remove'
} as const
const mostDevices = 8
/** Disks may be made and copied meanwhile; two changes of devices exclude each other. */
const besideOthers = 'backup'

const eitherRule: Rule<string> = value => {
  const device = deviceRule(value)
  if ('value' in device) return device
  const wwid = wwidRule(value)
  return 'value' in wwid ? wwid : { wrong: 'must be the path of a device below /dev, or a WWID' }
}

export const readChange = (fields: Fields) => ({
  id: fields.uuid('storageDomainId'),
  device: fields.is('device', eitherRule, ''),
  change:
    changes[fields.choice('change', ['DEVICE_CHANGE_ADD', 'DEVICE_CHANGE_RESIZE', 'DEVICE_CHANGE_REMOVE'])]
})

type Content = ReturnType<typeof readChange>
type Request = { requestId: string; content: Content; isDryRun: boolean }

/** A host looks first, without changing anything; what speaks against it is said before a job begins. */
export async function changeDevice(workshop: Workshop, hosts: Hosts, request: Request, context: Context) {
  const { mutations, jobs } = workshop
  const { store, clock } = mutations
  const { content, requestId, isDryRun } = request
  const { id, device, change } = content
  const method = 'ChangeStorageDomainDevice'
  const known = isDryRun ? null : (mutations.earlier(method, request, context) as { jobId: string } | null)
  if (known) return jobMessage(store.read, job(store.read, known.jobId))

  const domain = storageDomain(store.read, id)
  throwUnless(domain, ['active', 'maintenance'], 'be given other devices')
  const after = connectionAfter(domain, device, change)
  const hostId = hostFor(store.read, domain, requestId)
  const planned = await plan()
  if (isDryRun) {
    const { changes: lines, obstacle, movedBytes } = planned
    const result = { changes: lines.join('\n'), moved_bytes: String(movedBytes) }
    const objects = { storageDomain: id, host: hostId }
    const kind = 'storage_domain.change_device'
    return plannedJob(clock, context, { kind, objects, obstacle: obstacle || null, result, requestId })
  }
  if (planned.obstacle !== '') throw new Fault('WRONG_STATE', planned.obstacle)

  return orderedJob(workshop, method, request, context, (tx, who) => {
    const { connection: before } = storageDomain(tx, id)
    return jobs.create(tx, 'storage_domain.change_device', {
      context: { storageDomainId: id, device, change, hostId, hostIds: [], before, after, changes: [] },
      objects: { storageDomain: id, host: hostId },
      claims: [{ type: 'storageDomain', id, mode: domain.phase === 'active' ? besideOthers : 'change' }],
      ...who
    })
  })

  /** A storage domain in maintenance is looked at when its job has connected it. */
  async function plan() {
    if (domain.phase !== 'active') return { changes: [], obstacle: '', movedBytes: 0 }
    const ask = { storageDomainId: id, device, change: wireChange(change) }
    return hosts.call(hostId, agentServices.storage.PlanDevice, ask, context.signal)
  }
}

const hostFor = (reader: Reader, { id, phase }: StorageDomain, requestId: string) =>
  phase === 'active' ? storageHost(reader, [id], numberOf(requestId)) : someHost(reader, null, requestId)

/** How it will be reached. */
export function connectionAfter(
  { connection, name }: StorageDomain,
  device: string,
  change: DeviceChange
): StorageConnection {
  if (connection.kind !== 'block' && connection.kind !== 'iscsi') {
    throw new Fault('UNSUPPORTED', `storage domain ${name} is one of files: it has no devices`)
  }
  const before = connection.kind === 'block' ? connection.devices : connection.luns
  const isThere = before.includes(device)
  if (change === 'add' && isThere)
    throw new Fault('ALREADY_EXISTS', `storage domain ${name} has ${device} already`)
  if (change !== 'add' && !isThere)
    throw new Fault('NOT_FOUND', `storage domain ${name} has no device ${device}`)
  if (change === 'add' && before.length >= mostDevices)
    throw new Fault(
      'WRONG_STATE',
      `storage domain ${name} has ${before.length} devices; ${mostDevices} are the limit`
    )
  const after =
    change === 'resize' ? before : change === 'add' ? [...before, device] : before.filter(it => it !== device)
  return connection.kind === 'block' ? { ...connection, devices: after } : { ...connection, luns: after }
}
