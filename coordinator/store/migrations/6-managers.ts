/** Which host is to manage a block storage domain, why and since when; and which stands as its manager. */
export const sixth = [
  `ALTER TABLE storageDomain ADD COLUMN managerHostId TEXT REFERENCES host (id) ON DELETE SET NULL`,
  `ALTER TABLE storageDomain ADD COLUMN managerWhy TEXT NOT NULL DEFAULT ''`,
  `ALTER TABLE storageDomain ADD COLUMN managerSince INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE storageDomainHost ADD COLUMN isManager INTEGER NOT NULL DEFAULT 0`
]
