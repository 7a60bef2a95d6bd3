/** How full the area for LVM's metadata is. */
export const fourth = [`ALTER TABLE storageDomain ADD COLUMN metadataPercent INTEGER NOT NULL DEFAULT 0`]
