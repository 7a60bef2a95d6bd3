/** CD-ROM drives, which may be empty; ISO images; disks that several VMs write. */
export const fifth = [
  `ALTER TABLE disk ADD COLUMN content TEXT NOT NULL DEFAULT 'data'`,
  `ALTER TABLE disk ADD COLUMN isShareable INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE vm ADD COLUMN bootsFromCd INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE vm ADD COLUMN openTraysJson TEXT NOT NULL DEFAULT '[]'`,
  `CREATE TABLE vmCdDrive (
    vmId TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    diskId TEXT REFERENCES disk (id),
    PRIMARY KEY (vmId, number)
  ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX vmCdDriveByDisk ON vmCdDrive (diskId)`,

  // CDs were disks until now.
  `UPDATE disk SET content = 'iso' WHERE id IN (SELECT diskId FROM vmDisk WHERE isCdrom = 1)`,
  `INSERT INTO vmCdDrive
    SELECT vmId, row_number() OVER (PARTITION BY vmId ORDER BY ordinal), diskId FROM vmDisk WHERE isCdrom = 1`,
  `DELETE FROM vmDisk WHERE isCdrom = 1`,

  // A disk that can be written belongs to one VM (I1), unless it was made for several.
  `ALTER TABLE vmDisk ADD COLUMN isShared INTEGER NOT NULL DEFAULT 0`,
  `DROP INDEX vmDiskWriter`,
  `CREATE UNIQUE INDEX vmDiskWriter ON vmDisk (diskId) WHERE isReadOnly = 0 AND isShared = 0`,

  // Every disk that a VM uses, whichever way.
  `CREATE VIEW vmImage AS
    SELECT vmId, diskId, ordinal FROM vmDisk
    UNION ALL SELECT vmId, diskId, 1000 + number FROM vmCdDrive WHERE diskId IS NOT NULL`,
  `DROP VIEW diskView`,
  `CREATE VIEW diskView AS SELECT disk.*,
    coalesce((SELECT min(vmImage.vmId) FROM vmImage WHERE vmImage.diskId = disk.id), '') AS vmId,
    coalesce((SELECT templateDisk.templateId FROM templateDisk WHERE templateDisk.diskId = disk.id), '') AS templateId,
    (SELECT count(*) FROM volume WHERE volume.diskId = disk.id) AS chainLength
    FROM disk`
]
