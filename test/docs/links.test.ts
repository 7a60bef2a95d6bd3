import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

const folders = 'common|proto|libvirt|storage|agent|coordinator|cli|test|tools|systemd|packaging|docs'
const named = new RegExp(`\`((?:${folders})/[\\w./-]+\\.(?:ts|proto|sh|md|py))\``, 'g')

async function pages(): Promise<string[]> {
  const names = await readdir('docs', { recursive: true })
  const written = names.filter(name => name.endsWith('.md') && !name.startsWith('reference/'))
  return ['README.md', ...written.map(name => `docs/${name}`)]
}

t.test('links between pages lead somewhere', async t => {
  for (const page of await pages()) {
    const text = await readFile(page, 'utf8')
    for (const [, target = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      t.ok(existsSync(normalize(join(dirname(page), target))), `${page} links to ${target}`)
    }
  }
})

t.test('files that pages name exist', async t => {
  for (const page of await pages()) {
    const text = await readFile(page, 'utf8')
    for (const [, path = ''] of text.matchAll(named)) t.ok(existsSync(path), `${page} names ${path}`)
  }
})

t.test('links inside the reference lead to a heading', async t => {
  const text = await readFile('docs/reference/api.md', 'utf8')
  const anchor = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^a-z0-9 _-]/g, '')
      .replaceAll(' ', '-')
  const anchors = new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchor(heading)))
  const wanted = new Set([...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, target = '']) => target))
  t.strictSame(
    [...wanted].filter(target => !anchors.has(target)),
    []
  )
})
