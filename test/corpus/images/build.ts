import { mkdir, writeFile } from 'node:fs/promises'
import { attacks, falseFlags } from './attacks.js'

// Writes the attack images into a directory, for trying them against a whole system:
//
//   node --import tsx test/corpus/images/build.ts DIRECTORY
//
// `index.json` lists name, declared format and the rule that must refuse each. Images beyond 1 TiB are left out.

const directory = process.argv[2]
if (directory === undefined) throw new Error('usage: build.ts DIRECTORY')
await mkdir(directory, { recursive: true })
const index = []
for (const { name, declared, rule, image } of [...attacks, ...falseFlags]) {
  if (image.size > 2n ** 40n) continue
  await image.writeTo(`${directory}/${name}`)
  index.push({ name, declared, rule })
}
await writeFile(`${directory}/index.json`, `${JSON.stringify(index, null, 2)}\n`)
