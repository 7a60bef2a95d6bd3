import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { pathOf } from '../../storage/import-image.js'

// Which files of a host can be imported: those below one directory, and nothing is told of others.

const folder = await mkdtemp(join(tmpdir(), 'drover-import-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
const importDirectory = join(folder, 'import')
const find = (path: string, directory = importDirectory) =>
  pathOf({ kind: 'path', path }, { importDirectory: directory } as never)

const failure = (work: Promise<unknown>) =>
  work.then(
    () => null,
    (error: unknown) => error
  )

await mkdir(join(importDirectory, 'deep'), { recursive: true })
await Promise.all([
  writeFile(join(importDirectory, 'deep/image'), ''),
  writeFile(join(folder, 'secret'), ''),
  symlink(join(folder, 'secret'), join(importDirectory, 'out')),
  symlink('loop', join(importDirectory, 'loop')),
  symlink(importDirectory, join(folder, 'link'))
])

t.test('what lies below the directory is found, whichever of its names is used', async t => {
  const image = join(importDirectory, 'deep/image')
  t.equal(await find(image), image)
  t.equal(await find(join(folder, 'link/deep/image'), join(folder, 'link')), image)
  for (const name of ['none', 'deep/image/x', 'x'.repeat(300), 'loop'])
    t.match(await failure(find(join(importDirectory, name))), { reason: 'NOT_FOUND' }, name.slice(0, 20))
})

t.test('what lies elsewhere is refused in the same words whether it is there or not', async t => {
  const refusal = {
    reason: 'PERMISSION_DENIED',
    message: 'only files below the import directory can be imported'
  }
  for (const path of [join(folder, 'secret'), join(folder, 'none'), '/', importDirectory])
    t.match(await failure(find(path)), refusal, path)
  t.match(await failure(find(join(importDirectory, 'out'))), refusal, 'not through a link either')
})

t.test('a directory that is not there holds nothing, and is no bug', async t => {
  const missing = join(folder, 'missing')
  t.match(await failure(find('/etc/passwd', missing)), { reason: 'PERMISSION_DENIED' })
  t.match(await failure(find(join(missing, 'x'), missing)), { reason: 'NOT_FOUND' })
})
