// Writes proto/generated: the descriptor set (reflection, policies, docs) and the TypeScript types.
// `--if-stale` does nothing when everything there is newer than every .proto file.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'

const folder = 'proto/generated'
const set = `${folder}/descriptors.binpb`
const files = readdirSync('proto', { recursive: true })
  .filter(name => name.endsWith('.proto') && !name.startsWith('generated'))
  .toSorted()

const newest = Math.max(
  ...[...files.map(name => `proto/${name}`), 'tools/proto.mjs'].map(f => statSync(f).mtimeMs)
)
if (process.argv.includes('--if-stale') && existsSync(set) && statSync(set).mtimeMs > newest) process.exit(0)

rmSync(folder, { recursive: true, force: true })
mkdirSync(`${folder}/types`, { recursive: true })
const node = process.execPath
execFileSync(
  node,
  [
    'node_modules/@grpc/proto-loader/build/bin/proto-loader-gen-types.js',
    ...['--longs=String', '--enums=String', '--defaults', '--oneofs', '--grpcLib=@grpc/grpc-js'],
    ...['--importFileExtension=.js', '--includeDirs=proto', `--outDir=${folder}/types`, ...files]
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] }
)
execFileSync('protoc', [
  ...['-I', 'proto', '--include_imports', '--include_source_info'],
  `--descriptor_set_out=${set}`,
  ...files
])
