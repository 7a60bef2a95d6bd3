import { existsSync, readFileSync } from 'node:fs'

// One folder up in the source tree, two in dist/.
const places = ['../package.json', '../../package.json'].map(path => new URL(path, import.meta.url))
const place = places.find(existsSync)

/** Of this program. */
export const coordinatorVersion: string = place
  ? (JSON.parse(readFileSync(place, 'utf8')) as { version: string }).version
  : ''
