// Writes docs/reference/: `npm run docs`. A test fails when a page is not what this would write.
import { mkdirSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { descriptorSet } from '../proto/load.js'
import { apiPage } from './docs/api.js'
import { cliPage } from './docs/cli.js'
import { configPage } from './docs/config.js'
import { errorsPage } from './docs/errors.js'

/** The reference pages by path. */
export function referencePages(): Record<string, string> {
  return {
    'docs/reference/api.md': apiPage(descriptorSet),
    'docs/reference/cli.md': cliPage(),
    'docs/reference/config.md': configPage(),
    'docs/reference/errors.md': errorsPage()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  mkdirSync('docs/reference', { recursive: true })
  for (const [path, text] of Object.entries(referencePages())) writeFileSync(path, text)
}
