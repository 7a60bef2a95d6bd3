import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { ids, serviceWorld } from './service-world.js'

// A storage domain that is full: whoever asks for more is told so, and what is there stays whole.

const execute = promisify(execFile)
const { storageDomain } = ids
const MiB = (n: number) => String(n * 2 ** 20)
const target = () => ({ imageId: randomUUID(), volumeId: randomUUID() })

t.test('a full storage domain refuses, loses nothing, and goes on when there is room', async t => {
  const { root, mutate, call, withStorageDomain } = await serviceWorld(t)
  await execute('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'none', `${root}/mount`])
  t.teardown(() => execute('umount', ['-l', `${root}/mount`]))
  await withStorageDomain()
  const kept = {
    ...target(),
    capacity: MiB(8),
    format: 'DISK_FORMAT_RAW',
    allocation: 'ALLOCATION_POLICY_PREALLOCATED'
  }
  await mutate('CreateVolume', kept)

  const isFull = async (work: Promise<unknown>, title: string) => {
    const error: unknown = await work.catch((error: unknown) => error)
    t.ok(Fault.is(error, 'STORAGE_DOMAIN_FULL'), `${title}: ${String(error)}`)
  }
  await isFull(mutate('CreateVolume', { ...kept, ...target(), capacity: MiB(100) }), 'a preallocated volume')
  await writeFile(`${root}/import/big.raw`, randomBytes(64 * 2 ** 20))
  const file = {
    source: `${root}/import/big.raw`,
    sourceFormat: 'DISK_FORMAT_RAW',
    format: 'DISK_FORMAT_QCOW2'
  }
  await isFull(mutate('ImportImage', { ...target(), ...file }), 'an import')

  const audit = async () => (await call('AuditStorageDomain', { storageDomainId: storageDomain })).findings
  t.same(await audit(), [])
  const { volumes } = await call('ListVolumes', { storageDomainId: storageDomain })
  t.same(
    volumes?.map(({ volumeId }) => volumeId),
    [kept.volumeId],
    'what did not fit left nothing'
  )

  const small = { ...target(), capacity: MiB(8), format: 'DISK_FORMAT_QCOW2' }
  await mutate('CreateVolume', small)
  await mutate('RemoveImage', { imageId: kept.imageId })
  await mutate('CreateVolume', { ...kept, ...target() })
  t.same(await audit(), [])
})
