import type { Fields } from '../../common/fields.js'
import type { Want } from '../../common/locks.js'
import { stampOf } from '../gate.js'
import type { LockLevel } from '../tasks.js'

type Wants = Array<Want<LockLevel>>

/** What every command to a storage domain begins with. */
export const commandOf = (fields: Fields) => ({
  stamp: stampOf(fields),
  storageDomainId: fields.uuid('storageDomainId')
})

/** Alone in the storage domain. */
export const exclusive = (id: string): Wants => [{ level: 'storageDomain', id, mode: 'exclusive' }]

/** Beside others in the storage domain, alone in the image. */
export const aloneInImage = (id: string, imageId: string): Wants => [
  { level: 'storageDomain', id, mode: 'shared' },
  { level: 'image', id: `${id}/${imageId}`, mode: 'exclusive' }
]

export const volumeLock = (id: string, volumeId: string, mode: 'shared' | 'exclusive'): Wants => [
  { level: 'volume', id: `${id}/${volumeId}`, mode }
]
