import { readFile, stat } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { FormatError } from '../storage/format/format-error.js'
import { allKinds } from '../storage/format-kinds/all-kinds.js'
import {
  decodeArchive,
  decodeExpectations,
  domainArchive,
  domainExpectations
} from '../storage/format-kinds/archive.js'
import { type Json, parseJson, printJson } from '../storage/format-kinds/json.js'
import type { Kind, KindOptions } from '../storage/format-kinds/kind.js'

const usage = `usage: drover-agent format list
       drover-agent format decode KIND FILE    print a structure of shared storage as JSON
       drover-agent format encode KIND FILE    print the bytes that JSON describes

FILE may be gzipped; - is the standard input. What bytes do not say themselves can be stated with
--alignment BYTES and --sector-size 512|4096. --full shows more where the plain view leaves something out.
`

/** Where the command prints; tests collect it. */
export type Output = { out(chunk: string | Buffer): void; err(text: string): void }

const terminal: Output = {
  out: chunk => void process.stdout.write(chunk),
  err: text => void process.stderr.write(text)
}

type Request = { verb: string; kind: string; file: string; options: KindOptions }

/**
 * `drover-agent format`: an operator's magnifying glass for what lies on shared storage. Needs no agent, takes no
 * lease, writes nothing but its output. 0: done, 1: the input is wrong, 2: the command line is.
 */
export async function formatCommand(argv: string[], output: Output = terminal): Promise<number> {
  if (argv[0] === 'list' && argv.length === 1) return list(output)
  const request = parseArguments(argv)
  if (request === null) {
    const isHelp = argv.includes('--help') || argv.includes('-h')
    if (isHelp) output.out(usage)
    else output.err(usage)
    return isHelp ? 0 : 2
  }
  try {
    output.out(await perform(request))
    return 0
  } catch (error) {
    output.err(
      `${request.kind}: ${request.file}: ${error instanceof Error ? error.message : String(error)}\n`
    )
    return error instanceof UnknownKind ? 2 : 1
  }
}

function list(output: Output): number {
  const kinds = [...allKinds, domainArchive, domainExpectations]
  const width = Math.max(...kinds.map(({ name }) => name.length))
  for (const { name, about } of kinds) output.out(`${name.padEnd(width)}  ${about}\n`)
  return 0
}

function parseArguments(argv: string[]): Request | null {
  const options: KindOptions = { alignment: null, sectorSize: null }
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (word === '--json') continue // the output is JSON anyway
    if (word === '--full') {
      options.full = true
      continue
    }
    if (word === '--alignment' || word === '--sector-size') {
      const value = Number(argv[++i])
      if (word === '--alignment' && [1, 2, 4, 8].includes(value / 2 ** 20)) options.alignment = value
      else if (word === '--sector-size' && (value === 512 || value === 4096)) options.sectorSize = value
      else return null
    } else if (word.startsWith('--')) return null
    else words.push(word)
  }
  const [verb, kind, file] = words
  if ((verb !== 'decode' && verb !== 'encode') || kind === undefined || file === undefined) return null
  return words.length === 3 ? { verb, kind, file, options } : null
}

class UnknownKind extends Error {
  override readonly name = 'UnknownKind'
}

async function perform(request: Request): Promise<string | Buffer> {
  const { verb, kind, file, options } = request
  const isDomain = kind === domainArchive.name || kind === domainExpectations.name
  if (isDomain && verb === 'encode') throw new FormatError('invalid', 'whole storage domains are only read')
  if (kind === domainArchive.name) return `${printJson(await decodeArchive(file))}\n`
  if (kind === domainExpectations.name) return `${printJson(await decodeExpectations(file))}\n`

  const found = allKinds.find(({ name }) => name === kind)
  if (found === undefined) throw new UnknownKind('no such kind; see: drover-agent format list')
  const content = await contentOf(file)
  return verb === 'decode'
    ? `${printJson(found.decode(content, options))}\n`
    : encode(found, content, options)
}

function encode(kind: Kind, content: Buffer, options: KindOptions): string | Buffer {
  const encoded = kind.encode(parseJson(content), options)
  return Buffer.isBuffer(encoded) ? encoded : `${printJson(encoded)}\n`
}

const mostInput = 2 ** 28

async function contentOf(file: string): Promise<Buffer> {
  const status = file === '-' ? null : await stat(file)
  if (status?.isDirectory()) throw new FormatError('invalid', 'a directory, not a file')
  if (status !== null && status.size > mostInput) {
    throw new FormatError('overflow', `larger than ${mostInput} bytes; cut out the part to look at`)
  }
  const content = await readFile(file === '-' ? '/dev/stdin' : file)
  const isGzipped = content[0] === 0x1f && content[1] === 0x8b
  return isGzipped ? gunzipSync(content, { maxOutputLength: mostInput }) : content
}

/** For callers that print JSON themselves. */
export type { Json }
