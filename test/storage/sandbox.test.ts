import t from 'tap'
import { percentIn } from '../../storage/data-program.js'
import { sandboxedConvert } from '../../storage/sandbox.js'

const conversion = {
  source: '/import/json:{}.qcow2',
  sourceFormat: 'qcow2' as const,
  target: '/mount/images/i/v',
  targetFormat: 'raw' as const,
  into: { kind: 'newFile' as const },
  ontoDevice: false
}

t.test('inside the sandbox the files have names that cannot be protocols', async t => {
  const words = sandboxedConvert(conversion, true)
  const inside = words.slice(words.indexOf('--') + 1)
  t.same(inside.slice(-2), ['/img', '/out'])
  t.notOk(inside.join(' ').includes('json:'), 'the name of the source is not among them')
  t.match(words.join(' '), /--unshare-net/, 'without network')
})

t.test('formats are stated, never probed', async t => {
  const words = sandboxedConvert({ ...conversion, sourceFormat: 'iso' }, true).join(' ')
  t.match(words, /-f raw -O raw/)
})

t.test('a preallocated target is written in place', async t => {
  const words = sandboxedConvert({ ...conversion, into: { kind: 'zeroFile' } }, false)
  t.match(words.join(' '), /-n --target-is-zero/)
})

t.test('progress is the last figure that qemu-img printed', async t => {
  t.equal(percentIn('    (0.00/100%)\r    (12.34/100%)\r'), 12.34)
  t.equal(percentIn('qemu-img: something'), null)
})
