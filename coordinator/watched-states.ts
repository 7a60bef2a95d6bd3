import { clusterMessage } from './services/cluster.js'
import { hostMessage, type HostNow } from './services/host-message.js'
import {
  diskMessage,
  jobMessage,
  storageDomainMessage,
  templateMessage,
  vmMessage,
  type VmStatsOf
} from './services/messages.js'
import type { StateOf } from './services/watch.js'
import type { WatchKind } from './change-log.js'
import { clusterOrNull } from './store/clusters.js'
import { diskOrNull } from './store/disks.js'
import { hostOrNull } from './store/hosts.js'
import { jobOrNull } from './store/jobs.js'
import { sql, type Reader } from './store/query.js'
import { storageDomainOrNull } from './store/storage-domains.js'
import { templateOrNull } from './store/templates.js'
import { vmOrNull } from './store/vms.js'

/** Objects as watchers get them: the same messages as the services give. */
export function statesOf(reader: Reader, now: HostNow, statsOf: VmStatsOf): StateOf {
  const states: Record<WatchKind, (id: string) => ReturnType<StateOf>> = {
    vm: id => given(vmOrNull(reader, id), row => ({ vm: vmMessage(reader, row, statsOf) })),
    host: id => given(hostOrNull(reader, id), row => ({ host: hostMessage(reader, row, now) })),
    disk: id => given(diskOrNull(reader, id), row => ({ disk: diskMessage(row) })),
    storageDomain: id =>
      given(storageDomainOrNull(reader, id), row => ({ storageDomain: storageDomainMessage(reader, row) })),
    cluster: id => given(clusterOrNull(reader, id), row => ({ cluster: clusterMessage(row) })),
    template: id => given(templateOrNull(reader, id), row => ({ template: templateMessage(row) })),
    job: id => given(jobOrNull(reader, id), row => ({ job: jobMessage(reader, row) }))
  }
  return (kind, id) => states[kind](id)
}

/** The ids of all objects of a kind; of jobs only those that are not over. */
export function idsOf(reader: Reader, kind: WatchKind): string[] {
  const all = sql.selectFrom(kind).select('id').orderBy('id')
  const some = kind === 'job' ? sql.selectFrom('job').select('id').where('ended', 'is', null) : all
  return reader.all(some).map(({ id }) => id)
}

const given = <Row, State>(row: Row | null, state: (row: Row) => State): State | null =>
  row === null ? null : state(row)
