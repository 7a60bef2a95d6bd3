import { words } from './words.js'

/** Hosts, storage, VMs, jobs, events: what the spine needs. */
export const first = [
  `CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID`,

  `CREATE TABLE cluster (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    cpuModel TEXT NOT NULL,
    cpuWeight INTEGER NOT NULL,
    memoryWeight INTEGER NOT NULL,
    memoryOvercommitPercent INTEGER NOT NULL,
    cpuOvercommitPercent INTEGER NOT NULL,
    silenceSeconds INTEGER NOT NULL,
    fencingEnabled INTEGER NOT NULL,
    statusGapSeconds INTEGER NOT NULL,
    skipFencingWhileLeaseLives INTEGER NOT NULL,
    startGraceSeconds INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,

  `CREATE TABLE host (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    clusterId TEXT NOT NULL REFERENCES cluster (id),
    address TEXT NOT NULL DEFAULT '',
    sanlockHostId INTEGER NOT NULL UNIQUE CHECK (sanlockHostId BETWEEN 1 AND 249),
    generation INTEGER NOT NULL DEFAULT 0,
    powerEnabled INTEGER NOT NULL,
    powerJson TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode ${words('pending', 'active', 'preparing', 'maintenance')}),
    health TEXT NOT NULL CHECK (health ${words('initializing', 'up', 'connecting', 'non_responsive', 'proven_stopped')}),
    healthSince INTEGER NOT NULL,
    proof TEXT NOT NULL DEFAULT '',
    lastFence INTEGER,
    fences INTEGER NOT NULL DEFAULT 0,
    lostBootId TEXT NOT NULL DEFAULT '',
    missing TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT '',
    hardwareId TEXT NOT NULL DEFAULT '',
    incarnation TEXT NOT NULL DEFAULT '',
    sequence INTEGER NOT NULL DEFAULT 0,
    bootId TEXT NOT NULL DEFAULT '',
    agentVersion TEXT NOT NULL DEFAULT '',
    capabilitiesJson TEXT,
    lastSeen INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    status TEXT NOT NULL GENERATED ALWAYS AS (CASE
      WHEN mode = 'pending' THEN 'pending_enrolment'
      WHEN mode = 'maintenance' THEN 'maintenance'
      WHEN health = 'proven_stopped' THEN 'down'
      WHEN health <> 'up' THEN health
      WHEN mode = 'preparing' THEN 'preparing_for_maintenance'
      WHEN problem <> '' THEN 'non_operational'
      ELSE 'up'
    END) VIRTUAL
  ) STRICT`,
  `CREATE INDEX hostByCluster ON host (clusterId)`,

  `CREATE TABLE enrolmentToken (
    hash TEXT PRIMARY KEY,
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL,
    used INTEGER,
    created INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX enrolmentTokenByHost ON enrolmentToken (hostId)`,

  // No reference to host: a certificate outlives the record of its host.
  `CREATE TABLE certificate (
    serial TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    notAfter INTEGER NOT NULL,
    revoked INTEGER,
    issued INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX certificateByName ON certificate (role, name)`,
  `CREATE TABLE deniedHost (hostId TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID`,

  `CREATE TABLE storageDomain (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    connectionJson TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase ${words('creating', 'unattached', 'activating', 'active', 'deactivating', 'maintenance', 'removing')}),
    status TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    ioTimeoutSeconds INTEGER NOT NULL,
    blockSize INTEGER NOT NULL,
    criticalBytes INTEGER NOT NULL,
    totalBytes INTEGER NOT NULL DEFAULT 0,
    freeBytes INTEGER NOT NULL DEFAULT 0,
    metadataJson TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,

  `CREATE TABLE storageDomainHost (
    storageDomainId TEXT NOT NULL REFERENCES storageDomain (id) ON DELETE CASCADE,
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    health TEXT NOT NULL,
    problem TEXT NOT NULL,
    totalBytes INTEGER NOT NULL,
    freeBytes INTEGER NOT NULL,
    readLatencyMs REAL NOT NULL,
    hostIdHeld INTEGER NOT NULL,
    lastOk INTEGER,
    leasesJson TEXT NOT NULL,
    PRIMARY KEY (storageDomainId, hostId)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX storageDomainHostByHost ON storageDomainHost (hostId)`,

  `CREATE TABLE disk (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    storageDomainId TEXT NOT NULL REFERENCES storageDomain (id),
    capacity INTEGER NOT NULL,
    allocatedBytes INTEGER NOT NULL DEFAULT 0,
    format TEXT NOT NULL,
    allocation TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status ${words('creating', 'ok', 'illegal', 'removing')}),
    problem TEXT NOT NULL DEFAULT '',
    volumeId TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE INDEX diskByStorageDomain ON disk (storageDomainId)`,
  `CREATE INDEX diskByName ON disk (name)`,

  `CREATE TABLE volume (
    id TEXT PRIMARY KEY,
    diskId TEXT NOT NULL REFERENCES disk (id) ON DELETE CASCADE,
    parentId TEXT REFERENCES volume (id),
    capacity INTEGER NOT NULL,
    format TEXT NOT NULL,
    allocation TEXT NOT NULL,
    isShared INTEGER NOT NULL,
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE INDEX volumeByDisk ON volume (diskId)`,
  `CREATE INDEX volumeByParent ON volume (parentId)`,

  `CREATE TABLE template (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    memoryBytes INTEGER NOT NULL,
    firmware TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status ${words('creating', 'ok', 'removing')}),
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE templateDisk (
    templateId TEXT NOT NULL REFERENCES template (id) ON DELETE CASCADE,
    diskId TEXT NOT NULL UNIQUE REFERENCES disk (id),
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (templateId, diskId)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE vm (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    clusterId TEXT NOT NULL REFERENCES cluster (id),
    templateId TEXT REFERENCES template (id),
    vcpus INTEGER NOT NULL,
    memoryBytes INTEGER NOT NULL,
    firmware TEXT NOT NULL,
    isHa INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    leaseStorageDomainId TEXT REFERENCES storageDomain (id),
    cpuModel TEXT NOT NULL,
    machineType TEXT NOT NULL DEFAULT '',
    wantedRunning INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    phase TEXT NOT NULL CHECK (phase ${words('creating', 'ok', 'removing')}),
    isExternal INTEGER NOT NULL DEFAULT 0,
    restartsJson TEXT,
    status TEXT NOT NULL,
    pauseReason TEXT NOT NULL DEFAULT '',
    hostId TEXT REFERENCES host (id),
    migratingToHostId TEXT,
    exitReason TEXT NOT NULL DEFAULT '',
    failureJson TEXT,
    guestJson TEXT,
    migrationJson TEXT,
    vncSocket TEXT NOT NULL DEFAULT '',
    observedGeneration INTEGER NOT NULL DEFAULT 0,
    started INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL
  ) STRICT`,
  // External VMs are named by whoever made them.
  `CREATE UNIQUE INDEX vmByName ON vm (name) WHERE isExternal = 0`,
  `CREATE INDEX vmByHost ON vm (hostId)`,
  `CREATE INDEX vmByCluster ON vm (clusterId)`,
  `CREATE INDEX vmByTemplate ON vm (templateId)`,

  `CREATE TABLE vmDisk (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    diskId TEXT NOT NULL REFERENCES disk (id),
    ordinal INTEGER NOT NULL,
    bus TEXT NOT NULL,
    slot INTEGER NOT NULL,
    isReadOnly INTEGER NOT NULL,
    isCdrom INTEGER NOT NULL,
    PRIMARY KEY (vmId, diskId)
  ) STRICT, WITHOUT ROWID`,
  // A disk that can be written belongs to one VM (I1).
  `CREATE UNIQUE INDEX vmDiskWriter ON vmDisk (diskId) WHERE isReadOnly = 0`,
  `CREATE INDEX vmDiskByDisk ON vmDisk (diskId)`,

  `CREATE TABLE vmNic (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    mac TEXT NOT NULL UNIQUE,
    bridge TEXT NOT NULL,
    slot INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (vmId, mac)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE vmPinnedHost (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    hostId TEXT NOT NULL REFERENCES host (id),
    PRIMARY KEY (vmId, hostId)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE lease (
    vmId TEXT PRIMARY KEY REFERENCES vm (id) ON DELETE CASCADE,
    storageDomainId TEXT NOT NULL REFERENCES storageDomain (id),
    offsetBytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE job (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    kindVersion INTEGER NOT NULL,
    objectsJson TEXT NOT NULL,
    contextJson TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state ${words('queued', 'running', 'succeeded', 'undoing', 'undone', 'stuck')}),
    turnedBackJson TEXT,
    isCancelled INTEGER NOT NULL DEFAULT 0,
    rewindsTo TEXT,
    resultJson TEXT NOT NULL DEFAULT '{}',
    progressJson TEXT,
    vmId TEXT NOT NULL DEFAULT '',
    actor TEXT NOT NULL,
    requestId TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER
  ) STRICT`,
  `CREATE INDEX jobByEnd ON job (ended)`,
  `CREATE INDEX jobByCreation ON job (created)`,
  `CREATE INDEX jobByVm ON job (vmId)`,

  `CREATE TABLE jobStep (
    jobId TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT CHECK (state ${words('running', 'done', 'undone')}),
    weight INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    isOpen INTEGER NOT NULL DEFAULT 0,
    undoAttempt INTEGER NOT NULL DEFAULT 1,
    hostId TEXT,
    started INTEGER,
    ended INTEGER,
    faultJson TEXT,
    progressJson TEXT,
    PRIMARY KEY (jobId, name)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE claim (
    objectType TEXT NOT NULL,
    objectId TEXT NOT NULL,
    mode TEXT NOT NULL,
    jobId TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    PRIMARY KEY (objectType, objectId, jobId)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX claimByJob ON claim (jobId)`,

  `CREATE TABLE pending (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    jobId TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    vcpus INTEGER NOT NULL,
    memoryBytes INTEGER NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (vmId, hostId)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX pendingByHost ON pending (hostId)`,

  `CREATE TABLE snapshot (
    id TEXT PRIMARY KEY,
    vmId TEXT NOT NULL REFERENCES vm (id),
    name TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase ${words('creating', 'ok', 'removing')}),
    created INTEGER NOT NULL
  ) STRICT`,
  `CREATE INDEX snapshotByVm ON snapshot (vmId)`,
  `CREATE TABLE snapshotDisk (
    snapshotId TEXT NOT NULL REFERENCES snapshot (id) ON DELETE CASCADE,
    diskId TEXT NOT NULL REFERENCES disk (id),
    volumeId TEXT NOT NULL,
    PRIMARY KEY (snapshotId, diskId)
  ) STRICT, WITHOUT ROWID`,

  `CREATE TABLE request (
    id TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    actor TEXT NOT NULL,
    contentHash TEXT NOT NULL,
    answerJson TEXT NOT NULL,
    created INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX requestByTime ON request (created)`,

  // AUTOINCREMENT: a number is never given twice, also not after the oldest were cut off.
  `CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    severity TEXT NOT NULL CHECK (severity ${words('info', 'warning', 'error', 'alert')}),
    rank INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    objectsJson TEXT NOT NULL,
    vmId TEXT NOT NULL DEFAULT '',
    hostId TEXT NOT NULL DEFAULT '',
    jobId TEXT NOT NULL,
    actor TEXT NOT NULL
  ) STRICT`,
  `CREATE INDEX eventByVm ON event (vmId) WHERE vmId <> ''`,
  `CREATE INDEX eventByHost ON event (hostId) WHERE hostId <> ''`,

  `CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    serial TEXT NOT NULL,
    address TEXT NOT NULL,
    method TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    digest TEXT NOT NULL,
    requestId TEXT NOT NULL,
    outcome TEXT NOT NULL,
    previousHash TEXT NOT NULL,
    hash TEXT NOT NULL
  ) STRICT`,
  `CREATE INDEX auditByRequest ON audit (requestId)`,
  `CREATE TABLE auditAnchor (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, time INTEGER NOT NULL) STRICT`,
  `CREATE TRIGGER auditIsNeverChanged BEFORE UPDATE ON audit BEGIN
    SELECT RAISE (ABORT, 'audit records are never changed');
  END`,
  `CREATE TRIGGER auditIsCutAtAnchors BEFORE DELETE ON audit
    WHEN OLD.sequence > (SELECT coalesce(max(sequence), 0) FROM auditAnchor) BEGIN
    SELECT RAISE (ABORT, 'audit records are deleted only up to an anchor');
  END`,
  `CREATE TRIGGER auditAnchorIsNeverChanged BEFORE UPDATE ON auditAnchor BEGIN
    SELECT RAISE (ABORT, 'anchors of the audit trail are never changed');
  END`,
  `CREATE TRIGGER auditAnchorIsNeverDeleted BEFORE DELETE ON auditAnchor BEGIN
    SELECT RAISE (ABORT, 'anchors of the audit trail are never deleted');
  END`,

  `CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    time INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    hostId TEXT NOT NULL,
    verdictsJson TEXT NOT NULL,
    summary TEXT NOT NULL,
    jobId TEXT NOT NULL
  ) STRICT`,
  `CREATE INDEX decisionByVm ON decision (vmId, id)`,
  `CREATE TABLE hostDecision (
    id INTEGER PRIMARY KEY,
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    time INTEGER NOT NULL,
    health TEXT NOT NULL,
    missing TEXT NOT NULL,
    inputsJson TEXT NOT NULL
  ) STRICT`,
  `CREATE INDEX hostDecisionByHost ON hostDecision (hostId, id)`,

  `CREATE TABLE secret (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    keyId TEXT NOT NULL,
    nonce TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (owner, name)
  ) STRICT, WITHOUT ROWID`,

  `CREATE VIEW diskView AS SELECT disk.*,
    coalesce((SELECT min(vmDisk.vmId) FROM vmDisk WHERE vmDisk.diskId = disk.id), '') AS vmId,
    coalesce((SELECT templateDisk.templateId FROM templateDisk WHERE templateDisk.diskId = disk.id), '') AS templateId,
    (SELECT count(*) FROM volume WHERE volume.diskId = disk.id) AS chainLength
    FROM disk`
]
