// Transpiles every .ts file to dist/, file by file (no bundle: stack traces and child processes keep their paths).
import { build } from 'esbuild'
import { cpSync, mkdirSync, readdirSync } from 'node:fs'

const folders = [
  'common',
  'libvirt',
  'storage',
  'network',
  'agent',
  'coordinator',
  'cli',
  'proto',
  'tools',
  'test'
]
const sources = folders.flatMap(folder => {
  try {
    return readdirSync(folder, { recursive: true })
      .filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts') && !name.startsWith('generated'))
      .map(name => `${folder}/${name}`)
  } catch {
    return []
  }
})
await build({
  entryPoints: sources,
  outdir: 'dist',
  outbase: '.',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  logLevel: 'warning'
})
mkdirSync('dist/proto', { recursive: true })
cpSync('proto', 'dist/proto', {
  recursive: true,
  filter: path => !path.endsWith('.ts') && !path.includes('generated/types')
})
