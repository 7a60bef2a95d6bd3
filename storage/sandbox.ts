import type { ImageFormat } from './image-inspector.js'
import type { VolumeFormat } from './format/volume-metadata.js'
import type { ConvertInto } from './qemu-img-args.js'
import { asStorageUser, asStorageUserApart, powersToBecome } from './storage-user.js'

// How a program looks at an untrusted image: alone with it, under limits, without network. The file is always
// `/img` inside, so its name cannot be a protocol; whatever the image names does not exist there.

export type Conversion = {
  source: string
  sourceFormat: ImageFormat
  target: string
  targetFormat: VolumeFormat
  into: ConvertInto
  /** Whether the target is a device: then it has to be one inside too. */
  ontoDevice: boolean
}

// Small stacks and few arenas: qemu-img starts up to 64 threads, and all of them share the address space allowed.
const limits = [
  'prlimit',
  '--as=1073741824',
  '--stack=1048576',
  '--nofile=64',
  '--core=0',
  'env',
  'MALLOC_ARENA_MAX=2'
]
// No user namespace: in one, files of 36:36 would belong to nobody. Of root's powers only those to become their owner
// and to open them are left.
const apart = ['--unshare-ipc', '--unshare-pid', '--unshare-net', '--unshare-uts', '--unshare-cgroup-try']
const alone = [
  ...apart,
  '--die-with-parent',
  '--new-session',
  '--cap-drop',
  'ALL',
  ...powersToBecome.flatMap(power => ['--cap-add', power])
]
const system = [
  '--ro-bind',
  '/usr',
  '/usr',
  '--symlink',
  'usr/lib',
  '/lib',
  '--symlink',
  'usr/lib64',
  '/lib64'
]
const scratch = ['--symlink', 'usr/bin', '/bin', '--dev', '/dev', '--tmpfs', '/tmp', '--chdir', '/tmp']

/** The command line of the conversion of an untrusted image into a fresh volume with our own parameters. */
export function sandboxedConvert(conversion: Conversion, withBubblewrap: boolean): string[] {
  const { source, target } = conversion
  if (!withBubblewrap) return besides(convert(conversion, source, target))
  const files = ['--ro-bind', source, '/img', conversion.ontoDevice ? '--dev-bind' : '--bind', target, '/out']
  return inside(files, convert(conversion, '/img', '/out'))
}

/** How much an untrusted image needs as qcow2: its tables are read, under the same limits. */
export function sandboxedMeasure(source: string, format: ImageFormat, withBubblewrap: boolean): string[] {
  if (!withBubblewrap) return besides(measure(format, source))
  return inside(['--ro-bind', source, '/img'], measure(format, '/img'))
}

const besides = (program: string[]) => [...asStorageUser(), ...limits, ...program]

const inside = (files: string[], program: string[]) => [
  ...[...limits, 'bwrap', ...alone, ...system, ...scratch, ...files],
  ...['--', ...asStorageUserApart, ...program]
]

const rawOf = (format: ImageFormat) => (format === 'iso' ? 'raw' : format)

const measure = (format: ImageFormat, source: string) => [
  ...['qemu-img', 'measure', '--output=json', '-O', 'qcow2'],
  ...['-f', rawOf(format), source]
]

/** The source is read through the page cache, where the program that computes its checksum finds it too. */
function convert({ sourceFormat, targetFormat, into }: Conversion, source: string, target: string): string[] {
  const from = rawOf(sourceFormat)
  const fresh =
    into.kind === 'zeroFile'
      ? ['-n', '--target-is-zero']
      : into.kind === 'device'
        ? ['-n']
        : targetFormat === 'qcow2'
          ? ['-o', 'compat=1.1']
          : []
  const cache = ['-t', 'none', '-T', 'writeback']
  return [
    'qemu-img',
    'convert',
    '-p',
    '-W',
    ...cache,
    '-f',
    from,
    '-O',
    targetFormat,
    ...fresh,
    source,
    target
  ]
}
