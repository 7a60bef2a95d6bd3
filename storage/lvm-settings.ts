import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { ifThere } from './files.js'

// LVM reads `use_aio` from a file only, and a `--config` in a command line makes it load all of its settings a second
// time, which costs more than an extend. So it gets a directory of ours, and no file of the host's decides what
// happens to a storage domain. What it keeps of old metadata lies where an administrator looks for it.

const settings = (
  filter: string
) => `# Written by drover-agent. LVM reads it for storage domains, in place of /etc/lvm.
devices {
  preferred_names = [ "^/dev/mapper/" ]
  ignore_suspended_devices = 1
  write_cache_state = 0
  disable_after_error_count = 3
  hints = "none"
  obtain_device_list_from_udev = 0${filter}
}
global {
  prioritise_write_locks = 1
  wait_for_locks = 1
  use_lvmpolld = 1
  use_aio = 0
}
backup {
  retain_min = 50
  retain_days = 0
  backup_dir = "/etc/lvm/backup"
  archive_dir = "/etc/lvm/archive"
}
`

/** The directory that LVM's programs are told of; made if it is not there. */
export const lvmSettings = (runDirectory: string) => written(`${runDirectory}/lvm`, settings(''))

/**
 * The same for an LVM that is fed many commands: it may look at these devices only. `--devices` in each command would
 * say so too, but LVM 2.03.16 then reads, in the second one, memory that it gave back after the first, and dies.
 */
export function lvmSettingsFor(directory: string, vg: string, devices: readonly string[]): Promise<string> {
  const exactly = (path: string) => `"a|^${path.replaceAll(/[.+]/g, '[$&]')}$|"`
  const filter = [...devices.toSorted().map(exactly), '"r|.*|"'].join(', ')
  return written(`${directory}/${vg}`, settings(`\n  use_devicesfile = 0\n  filter = [ ${filter} ]`))
}

async function written(directory: string, text: string): Promise<string> {
  const file = `${directory}/lvm.conf`
  if ((await ifThere(readFile(file, 'utf8'))) === text) return directory
  await mkdir(directory, { recursive: true, mode: 0o755 })
  // Workers of several storage domains may come at once.
  const fresh = `${file}.${process.pid}`
  await writeFile(fresh, text)
  await rename(fresh, file)
  return directory
}
