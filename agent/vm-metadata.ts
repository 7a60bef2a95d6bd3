import { Fault } from '../common/fault.js'
import type { VmSpec } from './vm-spec.js'

/*
 * What an agent writes about a VM into the VM's libvirt domain, and needs to adopt it after a restart:
 *
 *   <drover:vm xmlns:drover="urn:drover:vm:1" format="1" id="…" generation="12">{"spec":{…},…}</drover:vm>
 *
 * The attributes are for people; the text is JSON in plain ASCII, which libvirt gives back unchanged. Pure.
 */

export const metadataUri = 'urn:drover:vm:1'
export const metadataPrefix = 'drover'
const format = '1'

export type ExitReason = 'shutdown' | 'destroyed' | 'migrated' | 'crashed' | 'failed' | 'lost'
export type VmExit = {
  reason: ExitReason
  at: number
  fault: { reason: string; message: string; facts: Record<string, string> } | null
}

/** Where a migration goes, and what its schedule has done so far. */
export type MigrationRecord = {
  taskId: string
  /** The host that writes this: whom the destination asks whether the VM has left. */
  sourceHostId: string
  destinationHostId: string
  began: number
  downtimeMs: number
  raises: number
}

export type VmRecord = {
  vmId: string
  generation: number
  spec: VmSpec
  /** The request that began this start: the same one, asked again, is done. */
  startedBy: string
  /** `preparing` until QEMU ran for the first time in this generation. */
  phase: 'preparing' | 'started'
  startedAt: number | null
  /** Somebody asked for the pause: nothing resumes it by itself. */
  isPausedByUser: boolean
  migration: MigrationRecord | null
  exit: VmExit | null
}

export function encodeRecord(record: VmRecord): { attributes: Record<string, string>; text: string } {
  const { vmId, generation, ...rest } = record
  const attributes = { format, id: vmId, generation: String(generation) }
  return { attributes, text: ascii(JSON.stringify(rest)) }
}

/** A fault says why the domain cannot be adopted; such a domain is quarantined. */
export function decodeRecord(metadata: { attributes: Record<string, string>; text: string }): VmRecord {
  const { attributes, text } = metadata
  if (attributes['format'] !== format) {
    throw unreadable(`has format ${attributes['format'] ?? '(none)'}; this agent knows ${format}`)
  }
  const generation = Number(attributes['generation'])
  if (!Number.isSafeInteger(generation) || generation < 0) throw unreadable('has no generation')
  const rest = parsed(text)
  const isWhole = isObject(rest) && isObject(rest['spec']) && typeof rest['startedBy'] === 'string'
  if (!isWhole) throw unreadable('lacks parts')
  const record = { ...empty, ...rest, vmId: attributes['id'] ?? '', generation } as VmRecord
  if (record.spec.vmId !== record.vmId) throw unreadable('is of another VM')
  if (!Array.isArray(record.spec.disks) || !Array.isArray(record.spec.nics)) throw unreadable('lacks devices')
  return record
}

const empty = { phase: 'started', startedAt: null, isPausedByUser: false, migration: null, exit: null }

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw unreadable('is not JSON', error)
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const ascii = (json: string) =>
  json.replace(/[\u007f-\uffff]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

const unreadable = (why: string, cause?: unknown) =>
  new Fault('CORRUPT', `the metadata of the VM ${why}`, { cause })
