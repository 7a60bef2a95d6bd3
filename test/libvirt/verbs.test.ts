import t from 'tap'
import * as c from '../../libvirt/constants.js'
import { flags, nameOf } from '../../libvirt/constants.js'
import { stateOf } from '../../libvirt/domain-state.js'
import { faultOf } from '../../libvirt/errors.js'
import { jobStatsFrom } from '../../libvirt/job-stats.js'
import { migrationFlags, migrationParams } from '../../libvirt/migration.js'
import { statsOf } from '../../libvirt/stats.js'
import { cpuMap } from '../../libvirt/tuning.js'

const error = {
  domain: 10,
  level: 2,
  dom: null,
  str1: null,
  str2: null,
  str3: null,
  int1: 0,
  int2: 0,
  net: null
}

t.test('errors of libvirt become faults by number, never by text', async t => {
  const table: Array<[number, string]> = [
    [1, 'LIBVIRT_FAILED'],
    [3, 'UNSUPPORTED'],
    [42, 'VM_NOT_FOUND'],
    [55, 'WRONG_STATE'],
    [68, 'VM_UNRESPONSIVE'],
    [78, 'CANCELLED'],
    [80, 'NOT_FOUND'],
    [83, 'BUSY'],
    [86, 'GUEST_AGENT_UNAVAILABLE'],
    [12345, 'LIBVIRT_FAILED']
  ]
  for (const [code, reason] of table) {
    const fault = faultOf({ ...error, code, message: 'Domain not found' })
    t.match(fault, { reason, message: 'libvirt: Domain not found', facts: { libvirtError: String(code) } })
  }
  t.equal(faultOf({ ...error, code: 9, message: null }).message, 'libvirt: error 9')
})

t.test('flags stay unsigned up to the topmost bit', async t => {
  t.equal(flags(c.connectGetAllDomainStatsFlags.ENFORCE_STATS, 1), 0x80000001)
  t.equal(flags(), 0)
})

t.test('numbers that libvirt adds later are unknown and nothing else', async t => {
  t.equal(nameOf(c.domainState, 3), 'paused')
  t.equal(nameOf(c.domainState, 99), 'unknown')
  t.strictSame(stateOf(3, 5), { state: 'paused', reason: 'ioerror' })
  t.strictSame(stateOf(3, 99), { state: 'paused', reason: 'unknown' })
  t.strictSame(stateOf(99, 0), { state: 'unknown', reason: 'unknown' })
})

t.test('what a migration is told', async t => {
  const plain = { destinationUri: 'x', migrateUri: null }
  t.equal(migrationFlags(plain), 1 | 2)
  t.strictSame(migrationParams(plain), [])
  const all = {
    ...plain,
    migrateUri: 'tcp://10.0.0.2:49152',
    movesDefinition: true,
    tls: { destinationName: 'host-b' },
    postCopy: true,
    autoConverge: { initial: 20, increment: 10 },
    parallelConnections: 2,
    bandwidthMiBs: 100
  }
  t.equal(migrationFlags(all), 1 | 2 | 8 | 16 | 8192 | 32768 | 65536 | 131072)
  t.strictSame(migrationParams(all), [
    { field: 'migrate_uri', value: { type: 'string', value: 'tcp://10.0.0.2:49152' } },
    { field: 'tls.destination', value: { type: 'string', value: 'host-b' } },
    { field: 'auto_converge.initial', value: { type: 'int', value: 20 } },
    { field: 'auto_converge.increment', value: { type: 'int', value: 10 } },
    { field: 'parallel.connections', value: { type: 'int', value: 2 } },
    { field: 'bandwidth', value: { type: 'ullong', value: 100n } }
  ])
})

t.test('progress of a job, with what was not said as null', async t => {
  const stats = jobStatsFrom('unbounded', {
    operation: 5,
    memory_total: 100,
    memory_processed: 40,
    memory_remaining: 60,
    downtime: 16
  })
  t.match(stats, {
    operation: 'migration_out',
    memory: { total: 100, processed: 40, remaining: 60 },
    disk: { total: 0 },
    downtimeMs: 16,
    iteration: null,
    success: null
  })
})

t.test('bulk statistics of one guest, whole and of a stuck one', async t => {
  const params = {
    'state.state': 1,
    'state.reason': 1,
    'cpu.time': 5,
    'cpu.user': 3,
    'cpu.system': 2,
    'balloon.current': 1024,
    'balloon.maximum': 2048,
    'vcpu.current': 1,
    'vcpu.maximum': 2,
    'vcpu.0.state': 1,
    'vcpu.0.time': 7,
    'net.count': 1,
    'net.0.name': 'vnet0',
    'net.0.rx.bytes': 10,
    'net.0.tx.drop': 1,
    'block.count': 1,
    'block.0.name': 'vda',
    'block.0.path': '/v',
    'block.0.backingIndex': 3,
    'block.0.rd.bytes': 512,
    'block.0.allocation': 4096
  }
  t.match(statsOf('u', params), {
    cpu: { timeNs: 5, userNs: 3, systemNs: 2 },
    balloon: { currentKiB: 1024, maximumKiB: 2048, unusedKiB: null },
    vcpus: { current: 1, maximum: 2, each: [{ index: 0, state: 1, timeNs: 7, waitNs: 0, delayNs: 0 }] },
    nics: [{ name: 'vnet0', rx: { bytes: 10 }, tx: { drops: 1 } }],
    disks: [
      { name: 'vda', path: '/v', backingIndex: 3, read: { bytes: 512 }, allocation: 4096, threshold: null }
    ]
  })
  const stuck = { 'state.state': 1, 'state.reason': 1, 'net.count': 1e9 }
  const bare = statsOf('u', stuck)
  t.match(bare, { cpu: null, balloon: null, vcpus: null, disks: [] })
  t.ok(bare.nics.length <= 4096, 'a wild count costs little')
})

t.test('a map of CPUs has bit n in byte n/8', async t => {
  t.strictSame(cpuMap([0, 1, 9]), Buffer.from([0b11, 0b10]))
  t.strictSame(cpuMap([]), Buffer.from([0]))
})
