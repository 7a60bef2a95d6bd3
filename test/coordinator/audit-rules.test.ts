import { randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import { Secret } from '../../common/secret.js'
import { leaseFindings } from '../../coordinator/audit-leases.js'
import { livenessFindings } from '../../coordinator/audit-liveness.js'
import { quotaFindings } from '../../coordinator/audit-quotas.js'
import type { HostLook } from '../../coordinator/audit-rules.js'
import { secretFindings } from '../../coordinator/audit-secrets.js'
import { addEvent } from '../../coordinator/store/events.js'
import { noteHost } from '../../coordinator/store/hosts.js'
import { insertQuota, putDiskUnder, replaceLimits, setQuotaMode } from '../../coordinator/store/quotas.js'
import { Secrets } from '../../coordinator/store/secrets.js'
import { putHostView } from '../../coordinator/store/storage-domains.js'
import { noteVm, putLease, updateVm } from '../../coordinator/store/vms.js'
import { fixture, furnish, ids, type Fixture } from './jobs/fixture.js'

async function installation(t: Tap): Promise<Fixture> {
  const made = await fixture({ start: false })
  t.teardown(() => made.close())
  furnish(made, 'running')
  return made
}
type Tap = { teardown(fn: () => unknown): void }
const minutes = 60_000

const lookAt = (status: string, lease = true): HostLook => {
  const spec = lease ? { lease: { storageDomainId: ids.domain, offsetBytes: '4194304' } } : {}
  return { hostId: ids.hostA, vms: [{ vmId: ids.vm, status, spec }], tasks: [] } as never
}
const lease = (ownerSanlockHostId: number, ownerGeneration = '1') => ({
  ...{ leaseId: ids.vm, offsetBytes: '4194304', ownerSanlockHostId, ownerGeneration }
})

t.test('I2: a VM with a lease runs where the lease is held, by the present life of the host', async t => {
  const { store } = await installation(t)
  store.transaction(tx => {
    putLease(tx, { vmId: ids.vm, storageDomainId: ids.domain, offsetBytes: 4194304 })
    const leases = [
      { sanlockHostId: 1, hostName: 'a', generation: '3', timestamp: '9', state: 'live' },
      { sanlockHostId: 2, hostName: 'b', generation: '1', timestamp: '9', state: 'live' }
    ]
    putHostView(tx, {
      ...{ storageDomainId: ids.domain, hostId: ids.hostA, health: 'active', problem: '', totalBytes: 0 },
      ...{ freeBytes: 0, readLatencyMs: 1, hostIdHeld: 1, lastOk: 1, leasesJson: JSON.stringify(leases) }
    })
  })
  const judged = (look: HostLook, leases: Array<ReturnType<typeof lease>>) =>
    leaseFindings(store.read, ids.domain, leases, [look]).map(({ invariant, text }) => `${invariant} ${text}`)
  const up = lookAt('VM_STATUS_UP')
  t.strictSame(judged(up, [lease(1, '3')]), [])
  t.match(judged(up, []), [/^I2 .*its lease does not exist/])
  t.match(judged(up, [lease(0)]), [/^I2 .*nobody holds its lease/])
  t.match(judged(up, [lease(2)]), [/^I2 .*its lease is held by host id 2/])
  t.match(judged(up, [lease(1, '2')]), [/^I2 .*held by life 2 of the host, which is in life 3/])
  for (const status of ['VM_STATUS_PAUSED', 'VM_STATUS_MIGRATING_FROM', 'VM_STATUS_DOWN'])
    t.strictSame(judged(lookAt(status), [lease(0)]), [], `${status} may have given it back`)
  t.strictSame(judged(lookAt('VM_STATUS_UP', false), [lease(0)]), [], 'this start has none')
  store.transaction(tx => noteHost(tx, ids.hostA, { capabilitiesJson: JSON.stringify({ haLeases: false }) }))
  t.strictSame(judged(up, [lease(0)]), [], 'no lock manager, no holder')
})

t.test('I15: a VM that should run and does not, and nobody does anything about it', async t => {
  const { store } = await installation(t)
  const now = 1_000 * minutes
  const judged = () =>
    livenessFindings(store.read, now).map(({ invariant, object }) => `${invariant} ${object}`)
  store.transaction(tx => {
    updateVm(tx, ids.vm, { isHa: 1, wantedRunning: 1 })
    noteVm(tx, ids.vm, { status: 'down', hostId: null, exitReason: 'crashed' })
  })
  const say = (minutesAgo: number) =>
    store.transaction(tx =>
      addEvent(
        tx,
        { severity: 'error', kind: 'vm.lost', text: 'x', objects: { vm: ids.vm } },
        now - minutesAgo * minutes
      )
    )
  say(60)
  t.strictSame(judged(), [`I15 vm ${ids.vm}`])
  say(4)
  t.strictSame(judged(), [], 'a restart may take that long')
  store.transaction(tx => noteVm(tx, ids.vm, { exitReason: 'shutdown' }))
  t.strictSame(judged(), [], 'its guest shut it down')

  store.transaction(tx => {
    noteVm(tx, ids.vm, { status: 'unknown', hostId: ids.hostB })
    noteHost(tx, ids.hostB, { health: 'non_responsive', healthSince: now - 10 * minutes, missing: '' })
  })
  t.strictSame(judged(), [`I15 host ${ids.hostB}`], 'what its VMs wait for is not known')
  store.transaction(tx => noteHost(tx, ids.hostB, { missing: 'no fence device' }))
  t.strictSame(judged(), [])
})

t.test('I17: a secret that stands in the open is found, however it is written', async t => {
  const { store } = await installation(t)
  const secrets = new Secrets(randomBytes(32))
  const secret = `CANARY-"${randomUUID()}\\`
  const judged = () => secretFindings(store.read, secrets, async () => {})
  store.transaction(tx => {
    secrets.put(tx, `host/${ids.hostA}/0`, 'password', new Secret(secret))
    secrets.put(tx, `host/${ids.hostB}/0`, 'pin', new Secret('1'))
  })
  t.strictSame(await judged(), [], 'sealed it is nowhere, and one character means nothing')
  store.transaction(tx => {
    noteHost(tx, ids.hostA, { problem: `the device says: ${secret}` })
    const text = JSON.stringify({ options: secret })
    addEvent(tx, { severity: 'info', kind: 'x', text, objects: {} }, 1)
  })
  t.match(await judged(), [
    { invariant: 'I17', text: 'stands in the open in text of a event' },
    { invariant: 'I17', object: `secret password of host/${ids.hostA}/0`, text: /problem of a host/ }
  ])
  t.notMatch(JSON.stringify(await judged()), /CANARY/, 'a finding does not tell it either')
})

t.test('I13: a quota that is enforced and exceeded', async t => {
  const { store } = await installation(t)
  const id = randomUUID()
  const judged = () => quotaFindings(store.read).map(({ invariant, text }) => `${invariant} ${text}`)
  const limitTo = (storageBytes: number) =>
    store.transaction(tx =>
      replaceLimits(tx, id, [
        { kind: 'storageDomain', objectId: ids.domain, vcpus: null, memoryBytes: null, storageBytes }
      ])
    )
  store.transaction(tx => {
    const about = { name: 'lab', description: '', thresholdPercent: 80, gracePercent: 10 }
    insertQuota(tx, { id, ...about, created: 1 })
    putDiskUnder(tx, ids.vmDisk, id)
    setQuotaMode(tx, 'enforced')
  })
  limitTo(2 ** 30)
  t.strictSame(judged(), [])
  limitTo(2 ** 30 - 2 ** 20)
  t.strictSame(judged(), [], 'within the grace')
  limitTo(2 ** 29)
  t.match(judged(), [/^I13 1073741824 of 536870912 bytes of disks are used on storageDomain/])
  store.transaction(tx => setQuotaMode(tx, 'audit'))
  t.strictSame(judged(), [], 'nobody promised more')
})
