import type { Libvirt } from './connections.js'
import * as c from './constants.js'
import { flags } from './constants.js'
import type { Domain } from './domain.js'
import { procedures as p } from './procedures.js'

/** Stops the guest and writes its memory to a file. Lasts as long as the writing. */
export async function saveDomain(
  domain: Domain,
  { to, xml = null, bypassCache = false }: { to: string; xml?: string | null; bypassCache?: boolean },
  signal: AbortSignal
): Promise<void> {
  const how = bypassCache ? c.domainSaveRestoreFlags.BYPASS_CACHE : 0
  await domain.libvirt.call(p.domainSaveFlags, { dom: domain.ref, to, dxml: xml, flags: how }, signal)
}

/** Starts a guest from such a file; `xml` replaces the definition in it. */
export async function restoreDomain(
  libvirt: Libvirt,
  {
    uuid,
    from,
    xml = null,
    paused = false,
    bypassCache = false
  }: {
    uuid: string
    from: string
    xml?: string | null
    paused?: boolean
    bypassCache?: boolean
  },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainSaveRestoreFlags
  const how = flags(paused ? f.PAUSED : f.RUNNING, bypassCache ? f.BYPASS_CACHE : 0)
  await libvirt.call(p.domainRestoreFlags, { from, dxml: xml, flags: how }, signal, { about: uuid })
}

export async function savedXml(libvirt: Libvirt, file: string, signal: AbortSignal): Promise<string> {
  return (await libvirt.call(p.domainSaveImageGetXmlDesc, { file, flags: 0 }, signal)).xml
}

/** Saves into libvirt's own directory; the next start continues from there. */
export async function managedSave(domain: Domain, signal: AbortSignal): Promise<void> {
  await domain.libvirt.call(p.domainManagedSave, { dom: domain.ref, flags: 0 }, signal)
}

export async function hasManagedSave(domain: Domain, signal: AbortSignal): Promise<boolean> {
  const args = { dom: domain.ref, flags: 0 }
  return (await domain.libvirt.call(p.domainHasManagedSaveImage, args, signal)).result === 1
}

export async function removeManagedSave(domain: Domain, signal: AbortSignal): Promise<void> {
  await domain.libvirt.call(p.domainManagedSaveRemove, { dom: domain.ref, flags: 0 }, signal)
}

/** Writes the guest's memory for a debugger. The guest goes on afterwards, if it was running and `live`. */
export async function dumpCore(
  domain: Domain,
  {
    to,
    format = 'RAW',
    live = false,
    memoryOnly = true
  }: {
    to: string
    format?: keyof typeof c.domainCoreDumpFormat
    live?: boolean
    memoryOnly?: boolean
  },
  signal: AbortSignal
): Promise<void> {
  const f = c.domainCoreDumpFlags
  const how = flags(live ? f.LIVE : 0, memoryOnly ? f.MEMORY_ONLY : 0)
  const args = { dom: domain.ref, to, dumpFormat: c.domainCoreDumpFormat[format], flags: how }
  await domain.libvirt.call(p.domainCoreDumpWithFormat, args, signal)
}
