import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { formatCommand } from '../../agent/format-cli.js'
import { root } from '../root.js'

export type Entry = {
  file: string
  kind: string
  description: string
  inputs?: Record<string, unknown>
  expect?: Record<string, unknown>
}

export const dataDirectory = `${root}/test/vectors/data`

const manifest = JSON.parse(readFileSync(`${dataDirectory}/manifest.json`, 'utf8')) as { files: Entry[] }

/** The entries of one kind in the manifest of golden examples. */
export function entriesOf(kind: string): Entry[] {
  return manifest.files.filter(entry => entry.kind === kind)
}

export const kindsInManifest: string[] = [...new Set(manifest.files.map(({ kind }) => kind))]

/** The bytes of an example, unpacked. */
export function bytesOf(entry: Entry): Buffer {
  const bytes = readFileSync(`${dataDirectory}/${entry.file}`)
  return entry.file.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

export function jsonOf(entry: Entry): unknown {
  return JSON.parse(bytesOf(entry).toString('utf8'))
}

export type Run = { code: number; out: Buffer; err: string }

/** `drover-agent format …`, in this process. */
export async function format(...argv: string[]): Promise<Run> {
  const out: Buffer[] = []
  const err: string[] = []
  const code = await formatCommand(argv, {
    out: chunk => out.push(Buffer.from(chunk as string)),
    err: text => err.push(text)
  })
  return { code, out: Buffer.concat(out), err: err.join('') }
}

export async function decode(kind: string, path: string): Promise<unknown> {
  const { code, out, err } = await format('decode', kind, path)
  if (code !== 0) throw new Error(err)
  return JSON.parse(out.toString('utf8'))
}
