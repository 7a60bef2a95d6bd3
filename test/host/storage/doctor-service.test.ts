import { randomUUID } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import t from 'tap'
import { ids, serviceWorld } from './service-world.js'

// The doctor through an agent's API: a plan, then what of it was agreed upon.

t.test('a plan is shown, and only what it showed is done', { timeout: 120_000 }, async t => {
  const { call, mutate, withStorageDomain, root } = await serviceWorld(t)
  await withStorageDomain()
  const disk = { imageId: randomUUID(), volumeId: randomUUID() }
  await mutate('CreateVolume', { ...disk, capacity: String(2 ** 20), format: 'DISK_FORMAT_QCOW2' })
  await mutate('CreateLease', { leaseId: ids.storageDomain })
  const lease = `${root}/mount/${ids.storageDomain}/images/${disk.imageId}/${disk.volumeId}.lease`
  await unlink(lease)

  const domain = { storageDomainId: ids.storageDomain }
  const scope = { allVms: true, vmIds: [] }
  const { diagnoses } = await call('DiagnoseStorageDomain', { ...domain, scope })
  const wrong = (diagnoses as Array<{ kind: string; object: string }>).map(({ kind, object }) => ({
    kind,
    object
  }))
  const leaked = { kind: 'removeVmLease', object: ids.storageDomain }
  const missing = { kind: 'writeVolumeLease', object: disk.volumeId }
  t.strictSame(wrong, [missing, leaked])
  const busy = { ...scope, busyIds: [disk.imageId] }
  t.match(await call('DiagnoseStorageDomain', { ...domain, scope: busy }), { diagnoses: { length: 1 } })
  t.match(await call('DiagnoseStorageDomain', domain), { diagnoses: { length: 1 } }, 'nobody knows the VMs')

  const { result } = await mutate('RepairStorageDomain', { ...domain, scope, repairs: [missing] })
  t.match(result, { done: /lease is written/, failed: '', left: /belongs to no VM/ })
  t.match(await call('ListLeases', domain), { leases: [{ leaseId: ids.storageDomain }] })
  await mutate('RepairStorageDomain', { ...domain, scope, repairs: [missing, leaked] })
  t.strictSame(await call('DiagnoseStorageDomain', { ...domain, scope }), { diagnoses: [] })
  t.match(await call('ListLeases', domain), { leases: [] })
  const wrongKind = { kind: 'format', object: disk.volumeId }
  await t.rejects(mutate('RepairStorageDomain', { ...domain, scope, repairs: [wrongKind] }), /kind/)
})
