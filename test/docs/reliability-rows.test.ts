import { readFileSync } from 'node:fs'
import t from 'tap'
import { root } from '../root.js'

const page = readFileSync(`${root}/docs/contributors/reliability-rows.md`, 'utf8')
const proven = [...page.matchAll(/^\| ([^|]+) \| ([^|]+) \| `(test\/[^`]+)` \| `(.+)` \|$/gm)]
const [, unproven = ''] = page.split('## Without proof')
const idsIn = (text: string) =>
  [...text.matchAll(/^\| ([AB]\d+)(?:–([AB]\d+))? \|/gm)].flatMap(([, first = '', last = first]) => {
    const [from, to] = [first, last].map(id => Number(id.slice(1))) as [number, number]
    return Array.from({ length: to - from + 1 }, (_, index) => `${first.charAt(0)}${from + index}`)
  })

for (const [, row, what, path, title = ''] of proven) {
  t.test(`${row} (${what}) is proven by a test that is there`, async t => {
    const source = readFileSync(`${root}/${path}`, 'utf8')
    t.ok(source.includes(title), `${path} has: ${title}`)
  })
}

t.test('each odd row is proven or said to be without proof', async t => {
  const named = new Set(idsIn(page))
  const odd = (letter: string, last: number) =>
    Array.from({ length: (last + 1) / 2 }, (_, index) => `${letter}${index * 2 + 1}`)
  for (const row of [...odd('A', 81), ...odd('B', 43)]) t.ok(named.has(row), row)
  t.ok(proven.length >= 70, `${proven.length} proofs`)
  t.ok(idsIn(unproven).length > 0)
})
