import type { LvmCommand, LvmOptions } from './lvm-args.js'

// The way back from a command line to what it does: for looking at logs, and for proving that our command
// lines are VDSM's. Words that none of our commands has are refused.

type Words = {
  flags: Set<string>
  options: Map<string, string>
  remove: string[]
  add: string[]
  operands: string[]
}

const withValue = [
  ...['--devices', '--config', '--units', '--separator', '-o', '--metadatasize', '--metadatacopies'],
  ...['--metadataignore', '--setautoactivation', '--physicalextentsize', '--autobackup', '--contiguous'],
  ...['--size', '--wipesignatures', '--name', '--available', '--driverloaded', '--fs']
]
const alone = [
  ...['--noheadings', '--nosuffix', '--ignoreskippedcluster', '-y', '-ff', '-f', '--force', '--refresh'],
  ...['-an', '-Zn']
]

export type LvmInvocation = { command: LvmCommand; options: LvmOptions }

/** Reads an argument vector; null when it is none of ours. */
export function parseLvmArguments(argv: readonly string[]): LvmInvocation | null {
  const [program = '', verb = '', ...rest] = argv
  if (!/^(\/\S*\/)?lvm$/.test(program)) return null
  const words = sortWords(rest)
  const command = words === null ? null : readCommand(verb, words)
  if (words === null || command === null) return null
  const devices = words.options.get('--devices')?.split(',') ?? []
  const metadataOnly = command.kind === 'extendLv' && !command.refresh
  const driver = words.options.get('--driverloaded') !== 'n' || metadataOnly
  return { command, options: { devices, config: words.options.get('--config') ?? '', driver } }
}

function sortWords(rest: readonly string[]): Words | null {
  const words: Words = { flags: new Set(), options: new Map(), remove: [], add: [], operands: [] }
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] ?? ''
    if (!word.startsWith('-')) words.operands.push(word)
    else if (alone.includes(word)) words.flags.add(word)
    else {
      const value = rest[++i]
      if (value === undefined) return null
      if (word === '--addtag') words.add.push(value)
      else if (word === '--deltag') words.remove.push(value)
      else if (withValue.includes(word)) words.options.set(word, value)
      else return null
    }
  }
  return words
}

function readCommand(verb: string, words: Words): LvmCommand | null {
  return verb.startsWith('lv') ? readOnVolumes(verb, words) : readOnGroups(verb, words)
}

function readOnGroups(verb: string, { operands, options, flags, add, remove }: Words): LvmCommand | null {
  const [first = '', ...others] = operands
  switch (verb) {
    case 'vgs':
      return { kind: 'listVg', vg: first }
    case 'pvs':
      return { kind: 'listPvs', pvs: operands }
    case 'pvcreate':
      return { kind: 'createPvs', pvs: operands, force: flags.has('-ff') }
    case 'pvchange':
      return { kind: 'chooseMetadataPv', pv: first }
    case 'vgcreate':
      return { kind: 'createVg', vg: first, pvs: others, tags: add }
    case 'vgchange':
      if (options.has('--available')) return { kind: 'deactivateVg', vg: first }
      return { kind: 'changeVgTags', vg: first, remove, add }
    case 'vgck':
      return { kind: 'checkVg', vg: first }
    case 'vgremove':
      return { kind: 'removeVg', vg: first }
    case 'vgextend':
      return { kind: 'extendVg', vg: first, pvs: others }
    case 'pvresize':
      return { kind: 'resizePv', pv: first }
    case 'pvmove':
      return { kind: 'movePv', from: first, to: others }
    case 'pvremove':
      return { kind: 'removePvs', pvs: operands }
    case 'vgreduce':
      return { kind: 'reduceVg', vg: first, pvs: others }
    default:
      return null
  }
}

function readOnVolumes(verb: string, { operands, options, flags, add, remove }: Words): LvmCommand | null {
  const [first = '', second = null] = operands
  const [vg = '', lv = ''] = first.split('/')
  const lvs = operands.map(operand => operand.slice(vg.length + 1))
  const mebibytes = Number(/^(\d+)m$/.exec(options.get('--size') ?? '')?.[1] ?? -1)
  const available = options.get('--available')
  switch (verb) {
    case 'lvs':
      return { kind: 'listLvs', vg, lv: lv === '' ? null : lv }
    case 'lvcreate':
      return { kind: 'createLv', vg, lv: options.get('--name') ?? '', mebibytes, tags: add, pv: second }
    case 'lvchange':
      if (flags.has('--refresh')) return { kind: 'refreshLvs', vg, lvs }
      if (available === 'y') return { kind: 'activateLvs', vg, lvs }
      if (available === 'n') return { kind: 'deactivateLvs', vg, lvs }
      return { kind: 'changeLvTags', vg, lvs, remove, add }
    case 'lvextend':
      return { kind: 'extendLv', vg, lv, mebibytes, refresh: options.get('--driverloaded') !== 'n' }
    case 'lvreduce': {
      const force = flags.has('--force')
      return { kind: 'reduceLv', vg, lv, mebibytes, force, ignoreFs: options.get('--fs') === 'ignore' }
    }
    case 'lvremove':
      return { kind: 'removeLvs', vg, lvs }
    default:
      return null
  }
}
