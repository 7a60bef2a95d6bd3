import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'

// Who may import whom. A folder that is absent here may import nothing but packages.
const mayImport: Record<string, string[]> = {
  common: [],
  proto: [],
  libvirt: ['common'],
  storage: ['common'],
  network: ['common'],
  agent: ['common', 'libvirt', 'storage', 'network', 'proto'],
  coordinator: ['common', 'proto'],
  cli: ['common', 'proto']
}

// Files that only compute: the same input gives the same output, today and in a simulation.
const pure = [
  /^common\/(fields|rules|text-rules|units|rollback|admission)\.ts$/,
  /^storage\/(thin|chain)\.ts$/,
  /^storage\/format\//,
  /^coordinator\/scheduler\//,
  /\/decide\.ts$/
]
const impure =
  /\basync (?:function|\()|\bawait\b|\bDate\b|Math\.random|from 'node:(?!crypto|zlib)|from 'pino'/
// Codecs compute checksums and digests; these two files look pure by place but wait by nature.
const excused = ['common/rollback.ts', 'common/admission.ts']

// Time and chance come through Clock. Files that do not obey yet, with the number of their uses: it may
// only shrink.
const clockless: Record<string, number> = { 'agent/doctor/doctor.ts': 1 }
const timeOrChance = /\bDate\.now\b|\bnew Date\(\)|(?<![.\w])set(?:Timeout|Interval)\(|\bMath\.random\b/g
const clockOwners = ['common/clock.ts', 'common/crashpoint.ts']

async function sources(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  const own = names.filter(name => name.endsWith('.ts') && !name.startsWith('generated'))
  return own.map(name => `${folder}/${name}`).toSorted()
}

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '')

for (const [folder, allowed] of Object.entries(mayImport)) {
  t.test(`${folder} imports only ${['itself', ...allowed].join(', ')}`, async t => {
    for (const file of await sources(folder)) {
      const text = await readFile(file, 'utf8')
      const top = '../'.repeat(file.split('/').length - 1)
      for (const [, up, target = ''] of text.matchAll(/(?:from|import\() ?'((?:\.\.\/)+)([\w-]+)\//g)) {
        if (up === top) t.ok([folder, ...allowed].includes(target), `${file} imports ${target}`)
      }
    }
  })
}

// What the agent's main process may load of storage/: what never touches shared storage itself.
const storageDoors =
  /^(format|format-kinds|connections)\/|^(worker|verbs|thin|chain|image-inspector|data-program|sanlock|prepare-image|files|storage-user)\b/

t.test('the agent loads of storage only what never touches shared storage', async t => {
  const statement = /^import (type )?(\{[^}]*\}|[\w* ]+) from '(?:\.\.\/)+storage\/([^']+)'/gm
  for (const file of await sources('agent')) {
    const text = await readFile(file, 'utf8')
    for (const [, type, names = '', path = ''] of text.matchAll(statement)) {
      const onlyTypes = type !== undefined || names.split(',').every(name => /^[{\s]*type /.test(name))
      t.ok(onlyTypes || storageDoors.test(path), `${file} imports storage/${path}`)
    }
  }
})

t.test('pure files are pure', async t => {
  for (const file of (await Promise.all(Object.keys(mayImport).map(sources))).flat()) {
    if (excused.includes(file) || !pure.some(pattern => pattern.test(file))) continue
    t.notMatch(withoutComments(await readFile(file, 'utf8')), impure, file)
  }
})

t.test('time and chance come through the clock', async t => {
  for (const file of (await Promise.all(Object.keys(mayImport).map(sources))).flat()) {
    if (clockOwners.includes(file)) continue
    const uses = withoutComments(await readFile(file, 'utf8')).match(timeOrChance)?.length ?? 0
    const excess = uses - (clockless[file] ?? 0)
    t.ok(excess <= 0, `${file} uses time or chance ${uses} times`)
  }
})
