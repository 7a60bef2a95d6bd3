import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { takesDirectIo } from '../../storage/direct-io.js'

t.test('whether a file system lets programs past its cache is found out by asking it', async t => {
  // Not /tmp: where that is memory, the answer depends on the kernel.
  await mkdir(join(process.cwd(), 'build'), { recursive: true })
  const folder = await mkdtemp(join(process.cwd(), 'build/direct-io-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'file')
  await writeFile(file, Buffer.alloc(4096))
  t.equal(await takesDirectIo(file), true)
  t.equal(await takesDirectIo('/proc/self/stat'), false)
  await t.rejects(takesDirectIo(join(folder, 'nothing')), { code: 'ENOENT' })
})
