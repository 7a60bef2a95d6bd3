import t from 'tap'
import { reportOf } from '../../cli/restore-report.js'

const quiet = { restored: 1000, awaited: [], hosts: [], vms: [], findings: [], events: [] }

t.test('a restore after which nothing differs has nothing to tell', async t => {
  const hosts = [{ name: 'a', status: 'UP', problem: '' }]
  const vms = [{ name: 'web', status: 'DOWN', external: false, host: '' }]
  t.strictSame(reportOf({ ...quiet, hosts, vms }), [])
})

t.test('each difference stands under what a person does about it', async t => {
  const sections = reportOf({
    restored: 1000,
    awaited: ['b'],
    hosts: [{ name: 'a', status: 'INITIALIZING', problem: 'refuses epoch 3' }],
    vms: [
      { name: 'web', status: 'UNKNOWN', external: false, host: '' },
      { name: 'new', status: 'UP', external: true, host: 'b' }
    ],
    findings: [
      { invariant: 'I5', object: 'volume v', text: 'lies on storage and is not recorded' },
      { invariant: 'I4', object: 'volume w', text: 'is recorded and does not lie on storage' },
      { invariant: 'I12', object: 'job j', text: 'is stuck' }
    ],
    events: [
      { time: 500, kind: 'vm.lost', text: 'before' },
      { time: 1500, kind: 'vm.lost', text: 'after' },
      { time: 1500, kind: 'coordinator.started', text: 'not about VMs' }
    ]
  })
  t.strictSame(
    sections.map(({ lines }) => lines),
    [
      ['b'],
      ['a is INITIALIZING: refuses epoch 3'],
      ['web is UNKNOWN'],
      ['new on b'],
      ['volume v lies on storage and is not recorded'],
      ['volume w is recorded and does not lie on storage'],
      ['I12 job j is stuck'],
      ['1970-01-01T00:00:01.500Z after']
    ]
  )
})
