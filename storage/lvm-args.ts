// The command lines of LVM, as data in and words out. Every command names the devices it may look at, so it
// can neither see nor repair a volume group of the host or of another storage domain.

export type LvmCommand =
  | { kind: 'listVg'; vg: string }
  | { kind: 'listLvs'; vg: string; lv: string | null }
  | { kind: 'listPvs'; pvs: string[] }
  | { kind: 'createPvs'; pvs: string[]; force: boolean }
  | { kind: 'chooseMetadataPv'; pv: string }
  | { kind: 'createVg'; vg: string; pvs: string[]; tags: string[] }
  | { kind: 'changeVgTags'; vg: string; remove: string[]; add: string[] }
  | { kind: 'createLv'; vg: string; lv: string; mebibytes: number; tags: string[]; pv: string | null }
  | { kind: 'changeLvTags'; vg: string; lvs: string[]; remove: string[]; add: string[] }
  | { kind: 'activateLvs'; vg: string; lvs: string[] }
  | { kind: 'deactivateLvs'; vg: string; lvs: string[] }
  | { kind: 'refreshLvs'; vg: string; lvs: string[] }
  /** Without refresh only the metadata changes; each user of the volume refreshes its own mapping. */
  | { kind: 'extendLv'; vg: string; lv: string; mebibytes: number; refresh: boolean }
  /** `ignoreFs`: lvm 2.03.17 and later look for a file system unless told not to. */
  | { kind: 'reduceLv'; vg: string; lv: string; mebibytes: number; force: boolean; ignoreFs: boolean }
  | { kind: 'removeLvs'; vg: string; lvs: string[] }
  | { kind: 'checkVg'; vg: string }
  | { kind: 'deactivateVg'; vg: string }
  | { kind: 'removeVg'; vg: string }
  | { kind: 'extendVg'; vg: string; pvs: string[] }
  | { kind: 'resizePv'; pv: string }
  | { kind: 'movePv'; from: string; to: string[] }
  | { kind: 'reduceVg'; vg: string; pvs: string[] }
  | { kind: 'removePvs'; pvs: string[] }

/** `driver: false` changes metadata only, on machines without device-mapper. Null: a file has it all. */
export type LvmOptions = { devices: readonly string[] | null; config?: string | null; driver?: boolean }

const configText = (lvmpolld: 0 | 1) =>
  'devices {  preferred_names=["^/dev/mapper/"]  ignore_suspended_devices=1  write_cache_state=0' +
  '  disable_after_error_count=3    hints="none"  obtain_device_list_from_udev=0 }' +
  ` global {  prioritise_write_locks=1  wait_for_locks=1  use_lvmpolld=${lvmpolld} }` +
  ' backup {  retain_min=50  retain_days=0 }'

export const lvmConfig = configText(1)
/** `pvmove` must not leave its work to a daemon that outlives the manager. */
export const lvmConfigWithoutPolld = configText(0)

/** What every run of LVM gets on top of a clean environment. */
export const lvmEnvironment = { LC_ALL: 'C', LVM_SUPPRESS_FD_WARNINGS: '1' } as const

export const vgFields = [
  ...['uuid', 'name', 'attr', 'size', 'free', 'extent_size', 'extent_count', 'free_count', 'tags'],
  ...['vg_mda_size', 'vg_mda_free', 'lv_count', 'pv_count', 'pv_name']
]
export const lvFields = ['uuid', 'name', 'vg_name', 'attr', 'size', 'seg_start_pe', 'devices', 'tags']
export const pvFields = [
  ...['uuid', 'name', 'size', 'vg_name', 'vg_uuid', 'pe_start', 'pe_count', 'pe_alloc_count', 'mda_count'],
  ...['dev_size', 'mda_used_count']
]

const report = ['--noheadings', '--units', 'b', '--nosuffix', '--separator', '|', '--ignoreskippedcluster']

/** The whole argument vector, the program's name first. */
export function lvmArguments(command: LvmCommand, options: LvmOptions): string[] {
  const [verb, ...rest] = verbAndOperands(command)
  const standard = command.kind === 'movePv' ? lvmConfigWithoutPolld : lvmConfig
  const { config = standard } = options
  const given = config === null ? [] : ['--config', config]
  const devices = options.devices === null ? [] : ['--devices', [...options.devices].sort().join(',')]
  return ['lvm', verb, ...withoutDriver(command, options), ...devices, ...given, ...rest]
}

/** `--driverloaded` may stand only once in a command line. */
function withoutDriver(command: LvmCommand, options: LvmOptions): string[] {
  if (options.driver !== false || (command.kind === 'extendLv' && !command.refresh)) return []
  return ['--driverloaded', 'n', ...(command.kind === 'createLv' ? ['-an', '-Zn'] : [])]
}

type OnVolumes = Extract<LvmCommand, { lv: unknown } | { lvs: unknown }>
type OnGroups = Exclude<LvmCommand, OnVolumes>
type Words = [verb: string, ...rest: string[]]

function verbAndOperands(command: LvmCommand): Words {
  return 'lv' in command || 'lvs' in command ? onVolumes(command) : onGroups(command)
}

function onGroups(command: OnGroups): Words {
  switch (command.kind) {
    case 'listVg':
      return ['vgs', ...report, '-o', vgFields.join(','), command.vg]
    case 'listPvs':
      return ['pvs', ...report, '-o', pvFields.join(','), ...command.pvs]
    case 'createPvs': {
      const force = command.force ? ['-y', '-ff'] : []
      const areas = ['--metadatasize', '128m', '--metadatacopies', '2', '--metadataignore', 'y']
      return ['pvcreate', ...force, ...areas, ...command.pvs]
    }
    case 'chooseMetadataPv':
      return ['pvchange', '--metadataignore', 'n', command.pv]
    case 'createVg': {
      const geometry = ['--setautoactivation', 'n', '--physicalextentsize', '128m']
      return ['vgcreate', ...geometry, ...tagged('--addtag', command.tags), command.vg, ...command.pvs]
    }
    case 'changeVgTags':
      return ['vgchange', ...tagChange(command), command.vg]
    case 'checkVg':
      return ['vgck', command.vg]
    case 'deactivateVg':
      return ['vgchange', '--available', 'n', command.vg]
    case 'removeVg':
      return ['vgremove', '-f', command.vg]
    case 'extendVg':
      return ['vgextend', command.vg, ...command.pvs]
    case 'resizePv':
      return ['pvresize', command.pv]
    case 'movePv':
      return ['pvmove', command.from, ...command.to]
    case 'reduceVg':
      return ['vgreduce', command.vg, ...command.pvs]
    case 'removePvs':
      return ['pvremove', ...command.pvs]
  }
}

const withoutBackup = ['--autobackup', 'n']

function onVolumes(command: OnVolumes): Words {
  const paths = 'lvs' in command ? command.lvs.map(lv => `${command.vg}/${lv}`) : []
  switch (command.kind) {
    case 'listLvs': {
      const target = command.lv === null ? command.vg : `${command.vg}/${command.lv}`
      return ['lvs', ...report, '-o', lvFields.join(','), target]
    }
    case 'createLv': {
      const size = ['--contiguous', 'n', '--size', `${command.mebibytes}m`, '--wipesignatures', 'n']
      const name = [...tagged('--addtag', command.tags), '--name', command.lv, command.vg]
      return ['lvcreate', ...withoutBackup, ...size, ...name, ...(command.pv === null ? [] : [command.pv])]
    }
    case 'changeLvTags':
      return ['lvchange', ...withoutBackup, ...tagChange(command), ...paths]
    case 'activateLvs':
      return ['lvchange', ...withoutBackup, '--available', 'y', ...paths]
    case 'deactivateLvs':
      return ['lvchange', ...withoutBackup, '--available', 'n', ...paths]
    case 'refreshLvs':
      return ['lvchange', '--refresh', ...paths]
    case 'extendLv': {
      const driver = command.refresh ? [] : ['--driverloaded', 'n']
      const size = ['--size', `${command.mebibytes}m`]
      return ['lvextend', ...withoutBackup, ...driver, ...size, `${command.vg}/${command.lv}`]
    }
    case 'reduceLv': {
      const force = [...(command.force ? ['--force'] : []), ...(command.ignoreFs ? ['--fs', 'ignore'] : [])]
      const size = ['--size', `${command.mebibytes}m`]
      return ['lvreduce', ...withoutBackup, ...force, ...size, `${command.vg}/${command.lv}`]
    }
    case 'removeLvs':
      return ['lvremove', '-f', ...withoutBackup, ...paths]
  }
}

const tagged = (option: string, tags: string[]): string[] => tags.flatMap(tag => [option, tag])

function tagChange(change: { remove: string[]; add: string[] }): string[] {
  return [...tagged('--deltag', change.remove), ...tagged('--addtag', change.add)]
}
