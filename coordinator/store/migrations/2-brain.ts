import { words } from './words.js'

/** The brain: policies, affinity, quotas, reservation, history, and decisions that can be made again. */
export const second = [
  `CREATE TABLE placementPolicy (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    rulesJson TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  `ALTER TABLE cluster ADD COLUMN policyId TEXT NOT NULL DEFAULT 'none'`,
  `ALTER TABLE cluster ADD COLUMN haReservedHosts INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE cluster ADD COLUMN reservationJson TEXT`,
  `ALTER TABLE cluster ADD COLUMN schedulesJson TEXT NOT NULL DEFAULT '[]'`,
  `ALTER TABLE host ADD COLUMN keepsPower INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE host ADD COLUMN rested INTEGER NOT NULL DEFAULT 0`,

  `CREATE TABLE affinityGroup (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    clusterId TEXT NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    priority INTEGER NOT NULL,
    vmRule TEXT NOT NULL CHECK (vmRule ${words('none', 'positive', 'negative')}),
    vmIsHard INTEGER NOT NULL,
    hostRule TEXT NOT NULL CHECK (hostRule ${words('none', 'positive', 'negative')}),
    hostIsHard INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE INDEX affinityGroupByCluster ON affinityGroup (clusterId)`,
  `CREATE TABLE affinityMember (
    groupId TEXT NOT NULL REFERENCES affinityGroup (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind ${words('vm', 'host', 'vmLabel', 'hostLabel')}),
    member TEXT NOT NULL,
    PRIMARY KEY (groupId, kind, member)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE vmLabel (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    PRIMARY KEY (vmId, label)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX vmLabelByLabel ON vmLabel (label)`,
  `CREATE TABLE hostLabel (
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    PRIMARY KEY (hostId, label)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX hostLabelByLabel ON hostLabel (label)`,
  `CREATE TRIGGER affinityForgetsVm AFTER DELETE ON vm BEGIN
    DELETE FROM affinityMember WHERE kind = 'vm' AND member = OLD.id;
  END`,
  `CREATE TRIGGER affinityForgetsHost AFTER DELETE ON host BEGIN
    DELETE FROM affinityMember WHERE kind = 'host' AND member = OLD.id;
  END`,

  `CREATE TABLE quota (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    thresholdPercent INTEGER NOT NULL,
    gracePercent INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE quotaLimit (
    quotaId TEXT NOT NULL REFERENCES quota (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind ${words('cluster', 'storageDomain')}),
    objectId TEXT NOT NULL,
    vcpus INTEGER,
    memoryBytes INTEGER,
    storageBytes INTEGER,
    PRIMARY KEY (quotaId, kind, objectId)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE quotaConsumer (
    quotaId TEXT NOT NULL REFERENCES quota (id) ON DELETE CASCADE,
    consumer TEXT NOT NULL,
    PRIMARY KEY (quotaId, consumer)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE vmQuota (
    vmId TEXT PRIMARY KEY REFERENCES vm (id) ON DELETE CASCADE,
    quotaId TEXT NOT NULL REFERENCES quota (id)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX vmQuotaByQuota ON vmQuota (quotaId)`,
  `CREATE TABLE diskQuota (
    diskId TEXT PRIMARY KEY REFERENCES disk (id) ON DELETE CASCADE,
    quotaId TEXT NOT NULL REFERENCES quota (id)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX diskQuotaByQuota ON diskQuota (quotaId)`,

  `CREATE TABLE capacitySample (
    kind TEXT NOT NULL CHECK (kind ${words('memory', 'cpu', 'storage')}),
    objectId TEXT NOT NULL,
    time INTEGER NOT NULL,
    used REAL NOT NULL,
    total REAL NOT NULL,
    PRIMARY KEY (kind, objectId, time)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE decisionRecord (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    inputs BLOB NOT NULL
  ) STRICT`,
  `ALTER TABLE decision ADD COLUMN recordId INTEGER`,
  `ALTER TABLE decision ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0`,
  `CREATE TABLE clusterDecision (
    id INTEGER PRIMARY KEY,
    clusterId TEXT NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind ${words('balance', 'affinity', 'power_saver', 'reservation')}),
    summary TEXT NOT NULL,
    inputsJson TEXT NOT NULL
  ) STRICT`,
  `CREATE INDEX clusterDecisionByCluster ON clusterDecision (clusterId, id)`
]
