import { execa } from 'execa'
import t from 'tap'
import { asStorageUser } from '../../storage/storage-user.js'

t.test('who is not root starts programs as itself', async t => {
  t.same(asStorageUser(1000), [])
  t.equal(asStorageUser(0)[0], '/usr/bin/setpriv')
})

const isRoot = process.geteuid?.() === 0
t.test(
  'a program is 36:36 everywhere, and passes on this host as root does',
  { skip: !isRoot && 'needs root' },
  async t => {
    const [program = '', ...words] = [...asStorageUser(), 'cat', '/proc/self/status']
    const { stdout } = await execa(program, words)
    t.match(stdout, /^Uid:\s+36\s+36\s+36\s+36$/m)
    t.match(stdout, /^Gid:\s+36\s+36\s+36\s+36$/m)
    const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(stdout)?.[1]}`)
    t.equal(effective, 0b1111n, 'CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and FOWNER, and no other power')
  }
)
