import { Fault, type Reason } from '../common/fault.js'
import { FormatError, type FormatReason } from './format/format-error.js'

const byFormat: Record<FormatReason, Reason> = {
  sealBroken: 'CORRUPT',
  invalid: 'CORRUPT',
  missing: 'CORRUPT',
  cleared: 'CORRUPT',
  truncated: 'CORRUPT',
  updating: 'WRONG_STATE',
  overflow: 'INVALID_REQUEST',
  exists: 'ALREADY_EXISTS',
  noSpace: 'NO_SPACE',
  notFound: 'NOT_FOUND'
}

const bySystem: Record<string, Reason> = {
  ENOSPC: 'STORAGE_DOMAIN_FULL',
  EDQUOT: 'STORAGE_DOMAIN_FULL',
  EIO: 'STORAGE_DOMAIN_UNRESPONSIVE',
  ESTALE: 'STORAGE_DOMAIN_UNRESPONSIVE',
  EROFS: 'STORAGE_DOMAIN_UNRESPONSIVE',
  ENODEV: 'STORAGE_DOMAIN_UNRESPONSIVE',
  ENXIO: 'STORAGE_DOMAIN_UNRESPONSIVE',
  ENOTCONN: 'STORAGE_DOMAIN_UNRESPONSIVE'
}

/** What bytes and system calls object to, as a fault; anything else is a bug and stays what it is. */
export function asFault(error: unknown): unknown {
  if (error instanceof FormatError) {
    return new Fault(byFormat[error.reason], error.message, { cause: error, facts: { format: error.reason } })
  }
  if (
    error instanceof Error &&
    !(error instanceof Fault) &&
    'code' in error &&
    typeof error.code === 'string'
  ) {
    const reason = Object.hasOwn(bySystem, error.code) ? bySystem[error.code] : undefined
    if (reason !== undefined) return new Fault(reason, `storage answered ${error.code}`, { cause: error })
  }
  return error
}
