import { words } from './words.js'

/** VMs that need others, and limits by name. */
export const third = [
  `CREATE TABLE vmDependency (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    neededId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    PRIMARY KEY (vmId, neededId)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX vmDependencyByNeeded ON vmDependency (neededId)`,

  `CREATE TABLE qosProfile (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind ${words('cpu', 'disk', 'network')}),
    limitsJson TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `ALTER TABLE vm ADD COLUMN cpuProfileId TEXT REFERENCES qosProfile (id)`,
  `ALTER TABLE vm ADD COLUMN limitsApplied TEXT NOT NULL DEFAULT ''`,
  `ALTER TABLE vmDisk ADD COLUMN profileId TEXT REFERENCES qosProfile (id)`,
  `ALTER TABLE vmNic ADD COLUMN profileId TEXT REFERENCES qosProfile (id)`
]
