import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { FormatError } from '../format/format-error.js'
import { readBlockStorageDomain } from './block-archive.js'
import { readFileStorageDomain } from './file-archive.js'
import { At, type JsonObject, parseJson } from './json.js'
import { exists } from '../../common/exists.js'

const run = promisify(execFile)
export const domainArchive = {
  name: 'domain-archive',
  about:
    'a whole storage domain: its directory, or the images of its physical volumes, or a .tar.gz of either'
}
export const domainExpectations = {
  name: 'domain-expectations',
  about: 'a JSON file of what is in a .tar.gz beside it, with everything recomputed from that archive'
}

/** Reads a directory, or an archive of one that is unpacked for the time of reading. */
export async function decodeArchive(path: string): Promise<JsonObject> {
  if ((await stat(path)).isDirectory()) return await decodeDirectory(path)
  const scratch = await mkdtemp(join(tmpdir(), 'drover-format-'))
  try {
    await run('tar', ['--numeric-owner', '-xpzSf', path, '-C', scratch])
    return await decodeDirectory(scratch)
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** The storage domain in a directory or one level below it. */
async function decodeDirectory(directory: string): Promise<JsonObject> {
  if (await exists(`${directory}/dom_md/metadata`)) return await readFileStorageDomain(directory)
  const names = await readdir(directory)
  if (names.some(name => name.endsWith('.img'))) return await readBlockStorageDomain(directory)
  for (const name of names) {
    if (await exists(`${directory}/${name}/dom_md/metadata`))
      return await readFileStorageDomain(`${directory}/${name}`)
  }
  throw new FormatError('missing', 'neither dom_md/metadata nor images of physical volumes (*.img) are here')
}

/** Everything in the file that can be computed from the archive it names. */
export async function decodeExpectations(path: string): Promise<JsonObject> {
  const root = new At(parseJson(await readFile(path)))
  const name = root.has('archive') ? root.get('archive').text() : 'block-domain-pvs.tar.gz'
  const found = await decodeArchive(join(dirname(path), name.replaceAll('/', '')))
  const document = root.object()
  const known = Object.keys(document).filter(key => key in found && !('images' === key))
  return { ...document, ...Object.fromEntries(known.map(key => [key, found[key] ?? null])) }
}
