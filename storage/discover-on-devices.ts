import { Fault } from '../common/fault.js'
import { BlockGroup, realDevice } from './block-group.js'
import { pairsOf } from './block-storage-domain.js'
import { asFault } from './faults.js'
import { ioTimeoutIn, type Tools } from './file-storage-domain.js'
import { isUuid } from './format/uuid.js'
import { parseStorageDomainMetadata } from './format/storage-domain-metadata.js'
import { groupOn } from './lvm-reader.js'
import type { DiscoveredOnDevices } from './verbs.js'

/**
 * The storage domains whose physical volumes are among these devices, each with its devices. One that cannot be
 * read, or of which a device is missing, is left out: it cannot be used either.
 */
export async function discoverOnDevices(
  devices: readonly string[],
  tools: Tools
): Promise<DiscoveredOnDevices[]> {
  const names = new Set<string>()
  const real = new Map<string, string>()
  for (const device of devices) {
    const path = await realDevice(device)
    real.set(path, device)
    const found = await groupOn(path).catch(() => null)
    if (found?.vg && isUuid(found.vg)) names.add(found.vg)
  }
  const discovered: DiscoveredOnDevices[] = []
  for (const id of names) {
    try {
      const group = await (await BlockGroup.on(id, devices, tools.runDirectory, tools)).read()
      const pairs = pairsOf(id, group)
      const { pvs: _none, ...metadata } = parseStorageDomainMetadata(pairs)
      if (metadata.storageDomainId !== id || group.reading.missing.length > 0) continue
      const own = [...group.reading.devices.values()].map(device => real.get(device) ?? device)
      discovered.push({ ...metadata, ioTimeout: ioTimeoutIn(pairs), devices: own })
    } catch (error) {
      if (!Fault.is(asFault(error), 'NOT_FOUND') && !Fault.is(asFault(error), 'CORRUPT')) throw error
    }
  }
  return discovered
}
