import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { extname } from 'node:path'
import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import type { ImportDiskRequest } from '../../proto/generated/types/drover/v1/ImportDiskRequest.js'
import type { ImportDiskOpen } from '../../proto/generated/types/drover/v1/ImportDiskOpen.js'
import { idOf, optionalIdOf } from '../resource.js'
import { hosts, storageDomains } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { formatSize } from '../units.js'
import { finish } from '../wait.js'
import { withFormat, wireFormat, type Shape } from './disk.js'

const sourceFormats = {
  raw: 'DISK_FORMAT_RAW',
  qcow2: 'DISK_FORMAT_QCOW2',
  vmdk: 'DISK_FORMAT_VMDK',
  vpc: 'DISK_FORMAT_VPC',
  vhdx: 'DISK_FORMAT_VHDX',
  vdi: 'DISK_FORMAT_VDI',
  iso: 'DISK_FORMAT_ISO'
} as const
type SourceFormat = keyof typeof sourceFormats

const byEnding: Record<string, SourceFormat> = {
  '.img': 'raw',
  '.raw': 'raw',
  '.qcow2': 'qcow2',
  '.vmdk': 'vmdk',
  '.vhd': 'vpc',
  '.vhdx': 'vhdx',
  '.vdi': 'vdi',
  '.iso': 'iso'
}

type Options = Shape & { name: string; storageDomain: string; sourceFormat?: SourceFormat; host?: string }

/** Untrusted files that become disks. */
export function addImage(program: Command): void {
  const noun = program.command('image').description('Untrusted files that become disks.')
  const command = noun.command('import')
  withFormat(command)
    .argument('<FILE>', 'file here; with --host a path below the import directory of that host')
    .requiredOption('--name <NAME>', 'name of the new disk')
    .requiredOption('--storage-domain <STORAGE-DOMAIN>', 'where it lies, id or name')
    .addOption(
      command
        .createOption('--source-format <FORMAT>', 'format of the file (default: by its ending)')
        .choices(Object.keys(sourceFormats))
    )
    .option('--host <HOST>', 'the file lies on this host')
    .description('Upload an image, inspect it, and make a disk of it.')
    .addHelpText(
      'after',
      '\nExample:\n  drover image import debian-12.qcow2 --name debian-12 --storage-domain fast'
    )
    .action(
      withSession(async (session, file: string, options: Options) => {
        const open = await opening(session, file, options)
        const job = await session.client.upload(
          coordinatorServices.disk.ImportDisk,
          options.host ? only(open) : content(session, file, open),
          session.signal
        )
        await finish(
          session,
          job,
          ({ objects }) => `imported ${file} as disk ${options.name} (${objects['disk'] ?? ''})`
        )
      })
    )
}

async function opening(session: Session, file: string, options: Options): Promise<ImportDiskOpen> {
  const sourceFormat = options.sourceFormat ?? byEnding[extname(file).toLowerCase()]
  if (!sourceFormat) throw new Fault('INVALID_REQUEST', `say what ${file} is: --source-format raw, qcow2, …`)
  const local = options.host === undefined
  return {
    requestId: session.requestId(),
    name: options.name,
    storageDomainId: await idOf(session, storageDomains, options.storageDomain),
    sourceFormat: sourceFormats[sourceFormat],
    size: local ? String(sizeOf(file)) : '0',
    sha256: local ? await digest(file, session.signal) : '',
    ...wireFormat(options),
    hostPath: local ? '' : file,
    hostId: await optionalIdOf(session, hosts, options.host)
  }
}

async function* only(open: ImportDiskOpen): AsyncGenerator<ImportDiskRequest> {
  yield { open }
}

/** The opening message, then the file in pieces of 128 KiB, with a progress line for who looks on. */
async function* content(
  session: Session,
  file: string,
  open: ImportDiskOpen
): AsyncGenerator<ImportDiskRequest> {
  const { out, options } = session
  const shows = out.interactive && !options.quiet
  yield { open }
  const size = Number(open.size)
  let sent = 0
  let shown = -1
  for await (const data of createReadStream(file, { highWaterMark: 128 * 1024 })) {
    yield { data: data as Buffer }
    sent += (data as Buffer).length
    const percent = Math.floor((sent / size) * 100)
    if (shows && percent !== shown)
      out.redraw(`uploading  ${percent} %  ${formatSize(sent)} of ${formatSize(size)}`)
    shown = percent
  }
  if (shows) out.redraw('')
}

function sizeOf(file: string): number {
  const size = statSync(file, { throwIfNoEntry: false })?.size
  if (size === undefined) throw new Fault('INVALID_REQUEST', `there is no file ${file}`)
  return size
}

async function digest(file: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const data of createReadStream(file, { signal })) hash.update(data as Buffer)
  return hash.digest('hex')
}
