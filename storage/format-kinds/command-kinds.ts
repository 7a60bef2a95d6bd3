import { FormatError } from '../format/format-error.js'
import { lvmArguments, lvmConfig, lvmConfigWithoutPolld } from '../lvm-args.js'
import { parseLvmArguments } from '../lvm-parse-args.js'
import { qemuImgCall } from '../qemu-img-args.js'
import { parseQemuImgArguments } from '../qemu-img-parse-args.js'
import { type At, type Json, type JsonObject, parseJson, recomputed } from './json.js'
import type { Kind } from './kind.js'

// A command line is read into what it does, and that is written as we would write it. Where the two differ, our
// command lines are not VDSM's.

const words = (argv: At): string[] => argv.list().map(word => word.text())

function rebuiltLvm(argv: At): string[] {
  const original = words(argv)
  const parsed = parseLvmArguments(original)
  if (parsed === null) throw new FormatError('invalid', `${argv.path} is no command line of ours`)
  const [, ...rest] = lvmArguments(parsed.command, parsed.options)
  return [original[0] ?? 'lvm', ...rest]
}

function lvmExample(example: At): JsonObject {
  return { argv: example.get('argv').list().map(rebuiltLvm) }
}

function recomputeLvm(json: Json): Json {
  const document = recomputed(json, 'operations', lvmExample) as JsonObject
  return { ...document, config: lvmConfig, configNoLvmpolld: lvmConfigWithoutPolld }
}

export const lvmCommands: Kind = {
  name: 'lvm-commands',
  about: "LVM's command lines, read and written again as this agent writes them",
  decode: content => recomputeLvm(parseJson(content)),
  encode: recomputeLvm
}

function qemuImgExample(example: At): JsonObject {
  const parsed = parseQemuImgArguments(words(example.get('argv')))
  if (parsed === null) throw new FormatError('invalid', `${example.path} is no command line of ours`)
  return qemuImgCall(parsed)
}

const recomputeQemuImg = (json: Json): Json => recomputed(json, 'operations', qemuImgExample)

export const qemuImgCommands: Kind = {
  name: 'qemu-img-commands',
  about: "qemu-img's command lines, read and written again as this agent writes them",
  decode: content => recomputeQemuImg(parseJson(content)),
  encode: recomputeQemuImg
}
