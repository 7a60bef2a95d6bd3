// bundle.mjs FOLDER: in an unpacked agent, puts each program's thousand modules into a few files at the same places, and
// removes the rest. Under emulation Node.js takes minutes to find and read them one by one, and a VM to unpack them at its
// boot, which says nothing about the agent.
import { build } from 'esbuild'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'

const folder = process.argv[2]
const dist = join(folder, 'usr/lib/drover/dist')
const installed = path => `/${relative(folder, path)}`

// A module goes on knowing where it lay: proto files and workers are found from there.
const places = {
  name: 'places',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\.m?js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      if (!text.includes('import.meta.')) return null
      const quoted = value => JSON.stringify(value)
      const file = installed(path)
      return {
        contents: text
          .replaceAll('import.meta.url', quoted(`file://${file}`))
          .replaceAll('import.meta.filename', quoted(file))
          .replaceAll('import.meta.dirname', quoted(file.slice(0, file.lastIndexOf('/')))),
        loader: 'js'
      }
    })
  }
}

const programs = ['agent/main.js', 'storage/worker.js', 'storage/connections/lun-probe.js']
const { metafile } = await build({
  entryPoints: programs.map(path => join(dist, path)),
  outbase: dist,
  outdir: dist,
  allowOverwrite: true,
  bundle: true,
  // Its names are found only by Node.js itself.
  external: ['systeminformation'],
  splitting: true,
  platform: 'node',
  format: 'esm',
  minifySyntax: true,
  minifyWhitespace: true,
  logLevel: 'error',
  metafile: true,
  plugins: [places],
  banner: { js: "import{createRequire as _r}from'node:module';const require=_r(import.meta.url);" }
})

const kept = new Set(Object.keys(metafile.outputs).map(path => resolve(path)))
for (const name of await readdir(dist, { recursive: true })) {
  const path = resolve(dist, name)
  if (/\.m?js$/.test(name) && !kept.has(path)) await rm(path)
}
const modules = join(folder, 'usr/lib/drover/node_modules')
for (const name of await readdir(modules)) {
  if (name !== 'systeminformation') await rm(join(modules, name), { recursive: true })
}
