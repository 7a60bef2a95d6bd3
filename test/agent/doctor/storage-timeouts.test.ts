import t from 'tap'
import {
  judgeStorageTimeouts,
  parseNfsMounts,
  type StorageTimeouts
} from '../../../agent/doctor/storage-timeouts.js'
import { seconds } from '../../../common/units.js'

const nothing: StorageTimeouts = { ioTimeout: seconds(10), multipath: null, nfsMounts: [], sessions: [] }
const multipath = { pollingInterval: 5, noPathRetry: '16', fastIoFail: '5', userFriendlyNames: 'no' }
const session = {
  ...{ name: 'session1', iqn: 'iqn.2026-01.org.example:one', host: '10.0.0.1', port: 3260, group: 1 },
  ...{ state: 'LOGGED_IN', recoverySeconds: 60, disks: ['sda'] }
}
const mount = (options: string) => ({ target: '/run/drover/mnt/x', options: options.split(',') })

const cases: Array<[why: string, facts: Partial<StorageTimeouts>, name: string, severity: string]> = [
  ['multipath that waits as long as sanlock', { multipath }, 'multipath', 'ok'],
  [
    'multipath that waits for ever',
    { multipath: { ...multipath, noPathRetry: 'queue' } },
    'multipath',
    'failure'
  ],
  ['multipath that waits longer', { multipath: { ...multipath, noPathRetry: '17' } }, 'multipath', 'failure'],
  [
    'multipath that does not wait',
    { multipath: { ...multipath, noPathRetry: 'fail' } },
    'multipath',
    'warning'
  ],
  [
    'multipath with names of its own',
    { multipath: { ...multipath, userFriendlyNames: 'yes' } },
    'multipath',
    'warning'
  ],
  [
    'two paths without multipath',
    { sessions: [session, { ...session, host: '10.0.0.2' }] },
    'multipath',
    'warning'
  ],
  ['our own NFS options', { nfsMounts: [mount('rw,soft,timeo=100,retrans=3')] }, 'nfs-timeouts', 'ok'],
  ['a hard mount', { nfsMounts: [mount('rw,hard,timeo=100,retrans=3')] }, 'nfs-timeouts', 'warning'],
  [
    'a timeo below the I/O timeout',
    { nfsMounts: [mount('rw,soft,timeo=50,retrans=3')] },
    'nfs-timeouts',
    'warning'
  ],
  [
    'waits that are too long',
    { nfsMounts: [mount('rw,soft,timeo=600,retrans=3')] },
    'nfs-timeouts',
    'warning'
  ],
  ['a session of ours', { sessions: [session] }, 'iscsi-timeouts', 'ok'],
  [
    'a session that keeps I/O too long',
    { sessions: [{ ...session, recoverySeconds: 120 }] },
    'iscsi-timeouts',
    'failure'
  ],
  ['a lost session', { sessions: [{ ...session, state: 'FAILED' }] }, 'iscsi-timeouts', 'warning']
]
for (const [why, facts, name, severity] of cases) {
  t.test(`${why}: ${severity}`, async t => {
    const finding = judgeStorageTimeouts({ ...nothing, ...facts }).find(finding => finding.name === name)
    t.equal(finding?.severity, severity)
    t.equal(finding?.fix === null, severity === 'ok')
  })
}

t.test('a host without such storage is told nothing', async t => {
  t.strictSame(judgeStorageTimeouts(nothing), [])
})

t.test('mounts of ours are found, and no others', async t => {
  const line = (target: string, type: string) =>
    `36 22 0:44 / ${target} rw,nosuid shared:1 - ${type} nas:/vm rw,soft,timeo=100,retrans=3`
  const text = [line('/run/drover/mnt/a', 'nfs4'), line('/home', 'nfs'), line('/run/drover/x', 'tmpfs')].join(
    '\n'
  )
  t.strictSame(parseNfsMounts(text), [
    { target: '/run/drover/mnt/a', options: ['rw', 'soft', 'timeo=100', 'retrans=3'] }
  ])
})
