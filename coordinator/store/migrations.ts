import { first } from './migrations/1-inventory.js'
import { second } from './migrations/2-brain.js'
import { third } from './migrations/3-limits.js'
import { fourth } from './migrations/4-metadata-space.js'
import { fifth } from './migrations/5-cds-and-shared-disks.js'
import { seventh } from './migrations/7-luns.js'
import { sixth } from './migrations/6-managers.js'

/**
 * Every step of the schema, oldest first. A migration is a list of statements that run in one transaction; one that
 * was released is never changed again. user_version counts them.
 */
export const migrations: ReadonlyArray<readonly string[]> = [
  first,
  second,
  third,
  fourth,
  fifth,
  sixth,
  seventh
]
