import type { Reader } from '../store/query.js'
import { sql } from '../store/query.js'

// What people read about a job: which object, by its name, and what became of it.

const words: Record<string, string> = {
  'disk.copy': 'copied',
  'disk.create': 'created',
  'disk.delete': 'deleted',
  'disk.import': 'imported',
  'disk.resize': 'resized',
  'host.activate': 'taken out of maintenance',
  'host.confirm_stopped': 'confirmed to be off',
  'host.deactivate': 'put into maintenance',
  'cluster.upgrade': 'upgraded',
  'host.fence': 'reached by its power devices',
  'host.upgrade': 'upgraded',
  'host.join_storage': 'connected to its storage domains',
  'snapshot.create': 'taken',
  'snapshot.delete': 'removed',
  'storage_domain.activate': 'activated',
  'storage_domain.adopt': 'adopted',
  'storage_domain.change_device': 'given other devices',
  'storage_domain.create': 'created',
  'storage_domain.deactivate': 'put into maintenance',
  'storage_domain.delete': 'deleted',
  'storage_domain.repair': 'repaired',
  'template.create': 'created',
  'template.delete': 'deleted',
  'vm.change_cd': 'given another CD',
  'vm.create': 'created',
  'vm.delete': 'deleted',
  'vm.ensure_lease': 'given a lease',
  'vm.migrate': 'migrated',
  'vm.pause': 'paused',
  'vm.reboot': 'asked to reboot',
  'vm.reset': 'reset',
  'vm.restart': 'restarted',
  'vm.resume': 'resumed',
  'vm.start': 'started',
  'vm.stop': 'stopped'
}

const objects = {
  vm: 'VM',
  disk: 'disk',
  template: 'template',
  snapshot: 'snapshot',
  storage_domain: 'storage domain',
  host: 'host',
  cluster: 'cluster'
} as const

/** The main object of a job, in words. To be asked while it exists: a job that removes it cannot say it later. */
export function subjectOf(reader: Reader, kind: string, ids: Record<string, string>): string {
  const [type = ''] = kind.split('.')
  if (!isType(type)) return kind
  const table = type === 'storage_domain' ? 'storageDomain' : type
  const id = ids[table] ?? ''
  const row = reader.first(sql.selectFrom(table).select('name').where('id', '=', id))
  return `${objects[type]} ${row?.name ?? id}`
}

const isType = (text: string): text is keyof typeof objects => Object.hasOwn(objects, text)

/** "VM web was started"; with a reason, that it was not. A job may say in its result what it did. */
export function toldOf(kind: string, subject: string, failure: string | null, did?: string): string {
  const word = did ?? words[kind] ?? `done with (${kind})`
  return failure === null ? `${subject} was ${word}` : `${subject} was not ${word}: ${failure}`
}
