import { absent, type Domain } from './domain.js'
import * as c from './constants.js'
import { procedures as p } from './procedures.js'

/**
 * Begins a backup, push or pull as the XML says, with a checkpoint if one is given. The end of a push comes as
 * the event jobCompleted; a pull lasts until `abortJob`.
 */
export async function beginBackup(
  domain: Domain,
  {
    backupXml,
    checkpointXml = null,
    reuseFiles = false
  }: {
    backupXml: string
    checkpointXml?: string | null
    reuseFiles?: boolean
  },
  signal: AbortSignal
): Promise<void> {
  const how = reuseFiles ? c.domainBackupBeginFlags.REUSE_EXTERNAL : 0
  await domain.libvirt.call(
    p.domainBackupBegin,
    { dom: domain.ref, backupXml, checkpointXml, flags: how },
    signal
  )
}

/** The running backup with what libvirt added to it (ports, sockets); null if there is none. */
export async function backupXml(domain: Domain, signal: AbortSignal): Promise<string | null> {
  const found = domain.libvirt.call(p.domainBackupGetXmlDesc, { dom: domain.ref, flags: 0 }, signal)
  return found.then(({ xml }) => xml).catch(absent('NO_DOMAIN_BACKUP'))
}

export async function createCheckpoint(domain: Domain, xml: string, signal: AbortSignal): Promise<void> {
  const args = { dom: domain.ref, xmlDesc: xml, flags: 0 }
  await domain.libvirt.call(p.domainCheckpointCreateXml, args, signal)
}

/** Tells libvirt of a checkpoint whose bitmaps exist already: after a restart or a migration. */
export async function redefineCheckpoint(domain: Domain, xml: string, signal: AbortSignal): Promise<void> {
  const { REDEFINE, REDEFINE_VALIDATE } = c.domainCheckpointCreateFlags
  const args = { dom: domain.ref, xmlDesc: xml, flags: c.flags(REDEFINE, REDEFINE_VALIDATE) }
  await domain.libvirt.call(p.domainCheckpointCreateXml, args, signal)
}

export async function checkpointNames(domain: Domain, signal: AbortSignal): Promise<string[]> {
  const args = { dom: domain.ref, needResults: 1, flags: c.domainCheckpointListFlags.TOPOLOGICAL }
  const { checkpoints } = await domain.libvirt.call(p.domainListAllCheckpoints, args, signal)
  return checkpoints.map(({ name }) => name)
}

/** With sizes, QEMU is asked how much has changed since. */
export async function checkpointXml(
  domain: Domain,
  name: string,
  { withSizes }: { withSizes: boolean },
  signal: AbortSignal
): Promise<string> {
  const { NO_DOMAIN, SIZE } = c.domainCheckpointXMLFlags
  const args = { checkpoint: { name, dom: domain.ref }, flags: c.flags(NO_DOMAIN, withSizes ? SIZE : 0) }
  return (await domain.libvirt.call(p.domainCheckpointGetXmlDesc, args, signal)).xml
}

export async function deleteCheckpoint(
  domain: Domain,
  name: string,
  { recordOnly }: { recordOnly: boolean },
  signal: AbortSignal
): Promise<void> {
  const how = recordOnly ? c.domainCheckpointDeleteFlags.METADATA_ONLY : 0
  const args = { checkpoint: { name, dom: domain.ref }, flags: how }
  await domain.libvirt.call(p.domainCheckpointDelete, args, signal)
}
