import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import type { Context } from '../../common/rpc.js'
import type { StorageDomainState__Output } from '../../proto/generated/types/drover/agent/v1/StorageDomainState.js'
import { agentServices } from '../../proto/load.js'
import type { Hosts } from '../jobs/hosts.js'
import { dataCenterId } from '../jobs/storage-domain-steps.js'
import { wireConnection } from '../storage-connection.js'
import { job } from '../store/jobs.js'
import { throwIfNameTaken } from '../store/names.js'
import type { Reader } from '../store/query.js'
import { insertStorageDomain, storageDomainOrNull } from '../store/storage-domains.js'
import { jobMessage } from './messages.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { plannedJob } from './planned-job.js'
import { readConnection } from './storage-fields.js'
import { someHost } from './storage-domain-orders.js'
import { objectName, objectNameWords } from './vm-fields.js'

export function readAdoption(fields: Fields) {
  const wanted = fields.message('storageDomain', it => ({
    name: it.optionalMatching('name', objectName, objectNameWords),
    connection: it.message('connection', readConnection)
  }))
  const ids = {
    hostId: fields.optionalUuid('hostId'),
    storageDomainId: fields.optionalUuid('storageDomainId')
  }
  return { ...wanted, ...ids, convert: fields.bool('convert') }
}

/** oVirt's format before V5, which can be brought to it. */
const oldVersion = 4

type Adoption = ReturnType<typeof readAdoption>
type Request = { requestId: string; content: Adoption; isDryRun: boolean }

/** A host looks first, without changing anything; what speaks against it is said before a job begins. */
export async function adoptStorageDomain(
  workshop: Workshop,
  hosts: Hosts,
  request: Request,
  context: Context
) {
  const { mutations, jobs } = workshop
  const { store, clock } = mutations
  const { content, requestId, isDryRun } = request
  const known = isDryRun
    ? null
    : (mutations.earlier('AdoptStorageDomain', request, context) as { jobId: string } | null)
  if (known) return jobMessage(store.read, job(store.read, known.jobId))

  const hostId = someHost(store.read, content.hostId, requestId)
  const connection = wireConnection(content.connection)
  const { storageDomains } = await hosts.call(
    hostId,
    agentServices.storage.DiscoverStorageDomains,
    { connection },
    context.signal
  )
  const found = theOne(storageDomains, content.storageDomainId)
  const name = content.name ?? nameOf(found)
  const isOld = content.convert && found.metadata?.version === oldVersion
  const conversion = isOld ? await planConversion() : null
  const obstacle = obstacleTo(store.read, found, name, isOld) ?? (conversion?.obstacle || null)
  if (isDryRun) return report(found, name, obstacle)
  if (obstacle) throw new Fault('WRONG_STATE', obstacle, { facts: { storageDomain: found.storageDomainId } })

  return orderedJob(workshop, 'AdoptStorageDomain', request, context, (tx, who) => {
    throwIfNameTaken(tx, 'storageDomain', name)
    const { storageDomainId: id, metadata } = found
    insertStorageDomain(tx, {
      ...{ id, name, connectionJson: JSON.stringify(content.connection), phase: 'creating' },
      ...{ ioTimeoutSeconds: metadata?.ioTimeoutSeconds || 10, blockSize: metadata?.blockSize ?? 512 },
      ...{ criticalBytes: 0, metadataJson: JSON.stringify(metadata), created: clock.wall() }
    })
    return jobs.create(tx, 'storage_domain.adopt', {
      context: {
        ...{ storageDomainId: id, hostId, hostIds: [], connection: content.connection, disks: [] },
        isConverted: isOld
      },
      objects: { storageDomain: id, host: hostId },
      claims: [{ type: 'storageDomain', id, mode: 'change' }],
      ...who
    })
  })

  async function planConversion() {
    const request = { storageDomainId: found.storageDomainId, connection }
    return hosts.call(hostId, agentServices.storage.PlanConversion, request, context.signal)
  }

  function report(state: StorageDomainState__Output, wanted: string, why: string | null) {
    const result = {
      ...{ storage_domain_id: state.storageDomainId, name: wanted },
      metadata: JSON.stringify(state.metadata),
      changes: conversion?.changes.join('\n') ?? ''
    }
    const objects = { storageDomain: state.storageDomainId, host: hostId }
    const planned = { kind: 'storage_domain.adopt', objects, obstacle: why, result, requestId }
    return plannedJob(clock, context, planned)
  }
}

function theOne(
  found: readonly StorageDomainState__Output[],
  wanted: string | null
): StorageDomainState__Output {
  const ids = found.map(({ storageDomainId }) => storageDomainId).join(', ')
  const matching = wanted === null ? found : found.filter(({ storageDomainId }) => storageDomainId === wanted)
  const [first] = matching
  if (!first) {
    throw new Fault(
      'NOT_FOUND',
      found.length === 0 ? 'there is no storage domain at that place' : `only ${ids} is there`
    )
  }
  if (matching.length > 1) {
    throw new Fault('INVALID_REQUEST', `there are several storage domains: ${ids}`, {
      violations: [{ field: 'storage_domain_id', description: `must be one of ${ids}` }]
    })
  }
  return first
}

/** Names on storage may have any form; ours are narrower. */
function nameOf({ metadata, storageDomainId }: StorageDomainState__Output): string {
  const name = (metadata?.description ?? '')
    .replace(/[^A-Za-z0-9._ -]+/g, '-')
    .slice(0, 64)
    .trim()
  return objectName.test(name) ? name : `storage-${storageDomainId.slice(0, 8)}`
}

/** What speaks against taking it into service, or null. */
function obstacleTo(
  reader: Reader,
  { storageDomainId, metadata, hostLeases }: StorageDomainState__Output,
  name: string,
  isConverted: boolean
): string | null {
  if (!metadata) return 'its metadata cannot be read'
  if (metadata.version === oldVersion && !isConverted)
    return 'it has format version 4: say that it is to be converted'
  if (metadata.version !== 5 && !isConverted)
    return `it has format version ${metadata.version}; only 5 can be used`
  const known = storageDomainOrNull(reader, storageDomainId)
  if (known) return `this installation has it already, as ${known.name}`
  const alive = (hostLeases ?? []).find(({ state }) => state === 'HOST_LEASE_STATE_LIVE')
  if (alive) return `host ${alive.hostName || alive.sanlockHostId} uses it now`
  const owner = metadata.dataCenterId
  if (owner !== '' && owner !== dataCenterId(reader)) {
    return `data center ${owner} owns it: detach it there first`
  }
  try {
    throwIfNameTaken(reader, 'storageDomain', name)
    return null
  } catch (error) {
    if (error instanceof Fault) return `${error.message}: give it another name`
    throw error
  }
}
