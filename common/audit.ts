import { contentHash } from './ids.js'
import type { Caller } from './identity.js'

/** One attempt to change something, as the audit trail keeps it. */
export type AuditEntry = {
  /** "/drover.v1.VmService/StartVm". */
  method: string
  action: string
  caller: Caller
  /** Id of the object as the request names it; empty where there is none, or it was not readable. */
  object: string
  requestId: string
  /** Digest of the arguments, secrets left out. */
  digest: string
  /** "ok", or the reason of the failure. */
  outcome: string
  started: number
}

export type Audit = (entry: AuditEntry) => void | Promise<void>

const secretField = /password|secret|token|privateKey|ticket/i

/** What the audit trail may know of a request that nobody has checked yet. */
export function auditFacts(message: object, objectPath: string) {
  // Streams carry theirs in the message that opens them.
  const requestId = textAt(message, 'requestId') || textAt(message, 'open.requestId')
  return {
    object: textAt(message, objectPath),
    requestId,
    digest: contentHash(withoutSecrets(message))
  }
}

/** The same message without values that nobody may learn, not even by guessing against a digest. */
export function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets)
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([name]) => !secretField.test(name) || name === 'pageToken')
  return Object.fromEntries(kept.map(([name, held]) => [name, withoutSecrets(held)]))
}

function textAt(message: unknown, path: string): string {
  if (path === '') return ''
  let value = message
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return ''
    value = (value as Record<string, unknown>)[name]
  }
  return shortText(value)
}

// Nobody has checked it yet, and people will read it: nothing that hides or reorders goes in.
const unreadable = /[\p{C}\p{Zl}\p{Zp}\uFFFD]/gu
const shortText = (value: unknown) =>
  typeof value === 'string' ? value.slice(0, 128).replace(unreadable, '?') : ''
