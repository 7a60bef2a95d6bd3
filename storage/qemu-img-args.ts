import type { Bytes } from '../common/units.js'
import type { VolumeFormat } from './format/volume-metadata.js'

// The command lines of qemu-img, as data in and words out. Formats are always stated and never probed; the
// one exception inspects an untrusted image under limits. Paths are absolute, so none can be a protocol.

export type QemuImgCommand =
  | { kind: 'createBase'; format: VolumeFormat; path: string; size: Bytes }
  /** The chain below need not be readable, hence the size. Runs in the image's directory. */
  | { kind: 'createChild'; path: string; size: Bytes; parentId: string; parentFormat: VolumeFormat }
  | { kind: 'convert'; from: Layer; to: Layer; into: ConvertInto; bitmaps: boolean }
  | { kind: 'commit'; top: string; base: string }
  | { kind: 'rebaseHeader'; path: string; parentId: string; parentFormat: VolumeFormat }
  | { kind: 'info'; format: VolumeFormat; path: string; inUse: boolean }
  | { kind: 'inspectUntrusted'; path: string }
  | { kind: 'check'; path: string }
  | { kind: 'measure'; path: string; onBlock: boolean; inUse: boolean; depth: MeasureDepth }
  /** What a qcow2 copy of the whole chain would need. */
  | { kind: 'measureChain'; format: VolumeFormat; path: string }
  | { kind: 'addBitmap'; path: string; name: string; granularity: Bytes | null }
  | { kind: 'removeBitmap'; path: string; name: string }
  | { kind: 'mergeBitmap'; from: string; path: string; name: string }
  | { kind: 'amend'; path: string }
  | { kind: 'resize'; path: string; size: Bytes }
  | { kind: 'zeroDevice'; path: string; length: Bytes }
  | { kind: 'discardDevice'; path: string }

export type Layer = { format: VolumeFormat; path: string }

export type ConvertInto =
  | { kind: 'newFile' } // raw sparse, or qcow2 without parent: convert creates it
  | { kind: 'device' } // raw on a logical volume that holds old data
  | { kind: 'zeroFile' } // raw file that was just allocated
  | { kind: 'layer'; parentId: string } // qcow2 over a parent, made before

export type MeasureDepth = { kind: 'chain' } | { kind: 'layer' } | { kind: 'pair'; base: Layer } // as if the layer were merged into its base

/** An argument vector, the program first, and the directory it must run in. */
export type QemuImgCall = { argv: string[]; cwd: string | null }

const uncached = ['-t', 'none', '-T', 'none']
const step = String(32 * 2 ** 20)
const infoLimits = ['--cpu=30', '--as=1073741824']

export function qemuImgCall(command: QemuImgCommand): QemuImgCall {
  const inPlace = (argv: string[], path: string) => ({ argv, cwd: path.slice(0, path.lastIndexOf('/')) })
  const anywhere = (...argv: string[]) => ({ argv, cwd: null })
  const img = 'qemu-img'
  switch (command.kind) {
    case 'createBase': {
      const options = command.format === 'qcow2' ? ['-o', 'compat=1.1'] : []
      return anywhere(img, 'create', '-f', command.format, ...options, command.path, String(command.size))
    }
    case 'createChild': {
      const parent = ['-b', command.parentId, '-F', command.parentFormat, '-u']
      const options = ['-f', 'qcow2', '-o', 'compat=1.1', ...parent]
      return inPlace([img, 'create', ...options, command.path, String(command.size)], command.path)
    }
    case 'convert':
      return convert(command)
    case 'commit': {
      const argv = [img, 'commit', '-p', '-t', 'none', '-b', command.base, '-f', 'qcow2', command.top]
      return inPlace(argv, command.top)
    }
    case 'rebaseHeader': {
      const parent = ['-F', command.parentFormat, '-b', command.parentId]
      return inPlace([img, 'rebase', ...uncached, '-u', '-f', 'qcow2', ...parent, command.path], command.path)
    }
    case 'info': {
      const shared = command.inUse ? ['-U'] : []
      return anywhere(img, 'info', '--output', 'json', '-f', command.format, ...shared, command.path)
    }
    case 'inspectUntrusted':
      return anywhere('prlimit', ...infoLimits, '/usr/bin/qemu-img', 'info', '--output', 'json', command.path)
    case 'check':
      return anywhere(img, 'check', '--output', 'json', '-f', 'qcow2', command.path)
    case 'measure': {
      const shared = command.inUse ? ['--force-share'] : []
      return anywhere(img, 'measure', '--output', 'json', ...shared, '-O', 'qcow2', measured(command))
    }
    case 'measureChain':
      return inPlace(
        [img, 'measure', '--output', 'json', '-f', command.format, '-O', 'qcow2', command.path],
        command.path
      )
    case 'addBitmap': {
      const granularity = command.granularity === null ? [] : ['-g', String(command.granularity)]
      const argv = [img, 'bitmap', '--add', '--enable', command.path, command.name, ...granularity]
      return inPlace(argv, command.path)
    }
    case 'removeBitmap':
      return inPlace([img, 'bitmap', '--remove', command.path, command.name], command.path)
    case 'mergeBitmap': {
      const source = ['-F', 'qcow2', '-b', command.from]
      const argv = [img, 'bitmap', '--merge', command.name, ...source, command.path, command.name]
      return inPlace(argv, command.path)
    }
    case 'amend':
      return inPlace([img, 'amend', '-o', 'compat=1.1', command.path], command.path)
    case 'resize':
      return anywhere(img, 'resize', '-f', 'qcow2', command.path, String(command.size))
    case 'zeroDevice': {
      const length = ['--length', String(command.length)]
      return anywhere('blkdiscard', '--zeroout', '--step', step, ...length, command.path)
    }
    case 'discardDevice':
      return anywhere('blkdiscard', '--step', step, command.path)
  }
}

function convert(command: QemuImgCommand & { kind: 'convert' }): QemuImgCall {
  const { from, to, into } = command
  const bitmaps = command.bitmaps ? ['--bitmaps', '--skip-broken-bitmaps'] : []
  const start = ['qemu-img', 'convert', '-p', ...uncached, '-f', from.format, '-O', to.format]
  return {
    argv: [...start, ...convertTarget(to.format, into), ...bitmaps, from.path, to.path],
    cwd: into.kind === 'layer' ? from.path.slice(0, from.path.lastIndexOf('/')) : null
  }
}

/** Unordered writes only onto preallocated storage; "already zero" never onto a device, which holds old data. */
function convertTarget(format: VolumeFormat, into: ConvertInto): string[] {
  switch (into.kind) {
    case 'newFile':
      return format === 'qcow2' ? ['-o', 'compat=1.1'] : []
    case 'device':
      return ['-n', '-W']
    case 'zeroFile':
      return ['-n', '--target-is-zero']
    case 'layer':
      return ['-B', into.parentId, '-n']
  }
}

type Node = { [key: string]: string | Node | null }

function measured({ path, onBlock, depth }: QemuImgCommand & { kind: 'measure' }): string {
  const node: Node = { file: protocol(path, onBlock), driver: 'qcow2' }
  if (depth.kind === 'layer') node['backing'] = null
  if (depth.kind === 'pair') {
    const base: Node = { driver: depth.base.format, file: protocol(depth.base.path, onBlock) }
    if (depth.base.format === 'qcow2') base['backing'] = null
    node['backing'] = base
  }
  return `json:${spaced(node)}`
}

function protocol(path: string, onBlock: boolean): Node {
  return { driver: onBlock ? 'host_device' : 'file', filename: path }
}

/** JSON with a blank after each colon and comma, as VDSM's logs show it. */
function spaced(value: string | Node | null): string {
  if (value === null || typeof value === 'string') return JSON.stringify(value)
  const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}: ${spaced(member)}`)
  return `{${members.join(', ')}}`
}

/** An image without its parents, opened by nothing but what stands here. */
export function layerAlone(path: string): string {
  return `json:${spaced({ driver: 'qcow2', backing: null, file: protocol(path, false) })}`
}
