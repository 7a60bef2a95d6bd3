import t from 'tap'
import { isNfsExport, nfsMountArguments, nfsOptions } from '../../../storage/connections/nfs.js'
import { isBelow, mountPoints } from '../../../storage/connections/paths.js'

const nfs = { kind: 'nfs' as const, export: 'nas1:/export/vm', version: null, timeo: 100, retrans: 3 }

t.test('an export is a host and a path, and nothing that could be an option', async t => {
  for (const good of ['nas1:/vm', '10.0.0.1:/a/b_c.d', '[fe80::1]:/vm', 'nas-1.example.com:/export/@vm+1']) {
    t.equal(isNfsExport(good), true, good)
  }
  const bad = [
    '',
    'nas1',
    'nas1:vm',
    '-o:/vm',
    'nas1:/a,b',
    'nas1:/a b',
    'nas1:/../etc',
    'nas1:/a\nb',
    ':/vm',
    'a/b:/c',
    'nas1:/a;id'
  ]
  for (const text of [...bad, `nas1:/${'a'.repeat(1024)}`])
    t.equal(isNfsExport(text), false, JSON.stringify(text))
})

t.test('a mount is soft, without devices and setuid, whatever was asked for', async t => {
  t.equal(nfsOptions(nfs), 'nosuid,nodev,noexec,soft,nosharecache,timeo=100,retrans=3')
  t.equal(
    nfsOptions({ ...nfs, version: '3' }).endsWith('nfsvers=3,nolock'),
    true,
    'locks stay local with version 3'
  )
  t.same(nfsMountArguments(nfs, '/run/drover/mnt/x').slice(-3), [
    '--',
    'nas1:/export/vm',
    '/run/drover/mnt/x'
  ])
})

t.test('a directory is below an allowed one by whole names', async t => {
  const cases: Array<[path: string, isAllowed: boolean]> = [
    ['/srv', true],
    ['/srv/a/b', true],
    ['/srvx', false],
    ['/', false]
  ]
  for (const [path, isAllowed] of cases) t.equal(isBelow(path, ['/srv', '/mnt']), isAllowed, path)
  t.equal(isBelow('/anything', ['/']), true)
})

t.test('mount points are read from mountinfo with their escapes undone', async t => {
  const lines = [
    '36 25 0:32 / /run/a\\040b rw - nfs nas:/vm rw',
    '37 25 0:33 / /run/c rw - ext4 /dev/x rw',
    ''
  ]
  t.same(mountPoints(lines.join('\n')), ['/run/a b', '/run/c'])
})
