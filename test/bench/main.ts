import { readdir } from 'node:fs/promises'
import type { BenchResult } from './bench.js'

// `npm run bench -- NAME`: readable figures, then one line of JSON.

const shared = [
  'agent-host',
  'bare-host',
  'bench',
  'coordinator-scale-agents',
  'cluster-maker',
  'cpu',
  'fence-log',
  'ha-guests',
  'htools',
  'main',
  'pacemaker',
  'starts',
  'step-times',
  'storage-world',
  'twin'
]
const extension = import.meta.filename.endsWith('.ts') ? '.ts' : '.js'

async function benches(): Promise<string[]> {
  const names = (await readdir(import.meta.dirname)).filter(name => name.endsWith(extension))
  return names.map(name => name.slice(0, -extension.length)).filter(name => !shared.includes(name))
}

const [name = ''] = process.argv.slice(2)
const known = await benches()
if (!known.includes(name)) {
  console.error(`usage: npm run bench -- NAME, one of: ${known.toSorted().join(' ')}`)
  process.exit(2)
}
const { run } = (await import(`./${name}.js`)) as { run(): Promise<BenchResult> }
const result = await run()
console.log(JSON.stringify(result))
process.exit(result.ok ? 0 : 1)
