import type { Domain } from './domain.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import { procedures as p } from './procedures.js'

/**
 * Switches disks to new leaves that exist already, all or none. libvirt keeps no record of it. With memory, the
 * XML says `<memory snapshot='external' file='…'/>` and the call lasts as long as the saving.
 */
export async function takeSnapshot(
  domain: Domain,
  xml: string,
  { withMemory }: { withMemory: boolean },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainSnapshotCreateFlags
  const disksOnly = withMemory ? 0 : f.DISK_ONLY
  const args = {
    dom: domain.ref,
    xmlDesc: xml,
    flags: flags(f.REUSE_EXT, f.NO_METADATA, f.ATOMIC, disksOnly)
  }
  await domain.libvirt.call(p.domainSnapshotCreateXml, args, signal, withMemory ? { lane: 'long' } : {})
}

/** Names of the snapshots that libvirt has a record of: made by others, on external VMs. */
export async function snapshotNames(domain: Domain, signal: AbortSignal): Promise<string[]> {
  const args = { dom: domain.ref, needResults: 1, flags: 0 }
  const { snapshots } = await domain.libvirt.call(p.domainListAllSnapshots, args, signal)
  return snapshots.map(({ name }) => name)
}

export async function snapshotXml(domain: Domain, name: string, signal: AbortSignal): Promise<string> {
  const args = { snap: { name, dom: domain.ref }, flags: 0 }
  return (await domain.libvirt.call(p.domainSnapshotGetXmlDesc, args, signal)).xml
}

export async function revertToSnapshot(
  domain: Domain,
  name: string,
  { to }: { to: 'running' | 'paused' },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainSnapshotRevertFlags
  const args = { snap: { name, dom: domain.ref }, flags: to === 'running' ? f.RUNNING : f.PAUSED }
  await domain.libvirt.call(p.domainRevertToSnapshot, args, signal)
}

/** `recordOnly` leaves the data alone. */
export async function deleteSnapshot(
  domain: Domain,
  name: string,
  { recordOnly }: { recordOnly: boolean },
  signal: AbortSignal
): Promise<void> {
  const how = recordOnly ? c.domainSnapshotDeleteFlags.METADATA_ONLY : 0
  const args = { snap: { name, dom: domain.ref }, flags: how }
  await domain.libvirt.call(p.domainSnapshotDelete, args, signal, { lane: 'long' })
}
