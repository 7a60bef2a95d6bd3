import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { AgentWorld } from './world.js'

/** An active storage domain in a directory of the test, with one small disk. */
export async function storageDomain(world: AgentWorld, path = join(world.root, 'shared')) {
  const [storageDomainId, imageId, volumeId] = [randomUUID(), randomUUID(), randomUUID()]
  const { client } = world
  await mkdir(path, { mode: 0o777, recursive: true })
  await client.task('storage', 'CreateStorageDomain', {
    ...{ storageDomainId, connection: { posix: { path } }, description: 'test', dataCenterId: randomUUID() }
  })
  await client.task('storage', 'ActivateStorageDomain', { storageDomainId, sanlockHostId: 1 })
  await client.task('storage', 'CreateVolume', {
    ...{ storageDomainId, imageId, volumeId, format: 'DISK_FORMAT_QCOW2', description: 'test' },
    capacity: String(16 * 2 ** 20)
  })
  const disk = { diskId: randomUUID(), storageDomainId, imageId, volumeId, slot: 1 }
  return { storageDomainId, imageId, disk }
}
