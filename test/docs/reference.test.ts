import { readFileSync } from 'node:fs'
import t from 'tap'
import { reasons } from '../../common/fault.js'
import { referencePages } from '../../tools/docs.js'

t.test('the reference pages are what `npm run docs` writes', async t => {
  for (const [path, text] of Object.entries(referencePages())) {
    t.ok(readFileSync(path, 'utf8') === text, `${path} is fresh (else: npm run docs)`)
  }
})

t.test('every reason of failure has its line', async t => {
  const page = readFileSync('docs/reference/errors.md', 'utf8')
  for (const reason of reasons) t.match(page, `\`${reason}\``)
})
