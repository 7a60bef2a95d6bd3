/** LUNs that VMs use as they are, and which hosts see them. */
export const seventh = [
  `CREATE TABLE vmLun (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    wwid TEXT NOT NULL,
    diskId TEXT NOT NULL UNIQUE,
    ordinal INTEGER NOT NULL,
    bus TEXT NOT NULL,
    slot INTEGER NOT NULL,
    isReadOnly INTEGER NOT NULL,
    isShareable INTEGER NOT NULL,
    isPassthrough INTEGER NOT NULL,
    hasReservations INTEGER NOT NULL,
    sizeBytes INTEGER NOT NULL,
    model TEXT NOT NULL,
    PRIMARY KEY (vmId, wwid)
  ) STRICT, WITHOUT ROWID`,
  // A LUN belongs to one VM, unless each that has it says that it is shared.
  `CREATE UNIQUE INDEX vmLunOwner ON vmLun (wwid) WHERE isShareable = 0`,
  `CREATE INDEX vmLunByWwid ON vmLun (wwid)`,
  `CREATE TABLE hostLun (
    hostId TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    wwid TEXT NOT NULL,
    PRIMARY KEY (hostId, wwid)
  ) STRICT, WITHOUT ROWID`
]
