/** What a change to a row means for watchers: the kind of the object, and the column with its id. */
const watched = {
  cluster: ['cluster', 'id'],
  host: ['host', 'id'],
  storageDomain: ['storageDomain', 'id'],
  storageDomainHost: ['storageDomain', 'storageDomainId'],
  disk: ['disk', 'id'],
  volume: ['disk', 'diskId'],
  template: ['template', 'id'],
  templateDisk: ['template', 'templateId'],
  vm: ['vm', 'id'],
  vmDisk: ['vm', 'vmId'],
  vmCdDrive: ['vm', 'vmId'],
  vmLun: ['vm', 'vmId'],
  vmNic: ['vm', 'vmId'],
  vmPinnedHost: ['vm', 'vmId'],
  vmDependency: ['vm', 'vmId'],
  snapshot: ['snapshot', 'id'],
  job: ['job', 'id'],
  jobStep: ['job', 'jobId'],
  event: ['event', 'sequence']
} as const

export type WatchedKind = (typeof watched)[keyof typeof watched][0]

/**
 * Temporary tables and triggers of one connection: they collect which objects a transaction has changed, so
 * that no writer can forget to say so. Not by INSERT OR IGNORE: inside a trigger the conflict clause of the outer
 * statement counts, and an upsert that touches one object twice would fail.
 */
export const changeTracking: readonly string[] = [
  'CREATE TEMP TABLE changed (kind TEXT, id TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID',
  ...Object.entries(watched).flatMap(([table, [kind, column]]) =>
    (
      [
        ['INSERT', 'NEW'],
        ['UPDATE', 'NEW'],
        ['DELETE', 'OLD']
      ] as const
    ).map(
      ([act, row]) =>
        `CREATE TEMP TRIGGER changed_${table}_${act} AFTER ${act} ON main.${table} BEGIN
          INSERT INTO changed SELECT '${kind}', ${row}.${column}
          WHERE NOT EXISTS (SELECT 1 FROM changed WHERE kind = '${kind}' AND id = ${row}.${column});
        END`
    )
  )
]
