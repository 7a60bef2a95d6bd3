import t from 'tap'
import { connectionOf, portalOf, portalText } from '../../cli/connection.js'
import { Fault } from '../../common/fault.js'

const iqn = 'iqn.2026-01.org.example:vm'

t.test('portals are said as IQN@HOST:PORT, with 3260 and group 1 understood', async t => {
  t.strictSame(portalOf(`${iqn}@10.0.0.1`), { iqn, host: '10.0.0.1', port: 3260, group: 1 })
  t.strictSame(portalOf(`${iqn}@san.example:3261,2`), { iqn, host: 'san.example', port: 3261, group: 2 })
  t.strictSame(portalOf(`${iqn}@[fd00::1]`), { iqn, host: 'fd00::1', port: 3260, group: 1 })
  for (const text of [`${iqn}@10.0.0.1:3260`, `${iqn}@[fd00::1]:3260,2`])
    t.equal(portalText(portalOf(text)), text)
  t.throws(() => portalOf('10.0.0.1'), /must be IQN@HOST/)
})

t.test('a storage domain on iSCSI names targets and LUNs', async t => {
  t.strictSame(connectionOf({ iscsi: [`${iqn}@10.0.0.1`], lun: ['3600'] }), {
    iscsi: { portals: [{ iqn, host: '10.0.0.1', port: 3260, group: 1 }], luns: ['3600'] }
  })
  for (const options of [
    { iscsi: [`${iqn}@a`] },
    { lun: ['3600'] },
    { local: '/a', lun: ['3600'] },
    { iscsi: [`${iqn}@a`], lun: ['1'], posix: '/a' },
    {}
  ])
    t.throws(() => connectionOf(options), Fault)
})
