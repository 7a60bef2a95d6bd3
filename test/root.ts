import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The checkout, wherever this runs: tests run from dist/, and their data and the sources are not there. */
export const root = (() => {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
})()
