// SCSI-3 persistent reservations by sg_persist. Each host registers a key of its own and the LUN takes writes from
// registered hosts alone; a host whose key is taken away (preempted) cannot write any more, whatever it does.
//
//   type 7, "write exclusive, all registrants": anybody may read, every registered host may write, and the
//   reservation stays as long as one of them is registered: no holder whose leaving would open the LUN.

const type = ['--prout-type=7']

/** 64 bits: "DR", the host's number in the lockspace, and which of its lives it is (48 − 16 bits of the generation). */
export function hostKey(sanlockHostId: number, generation: number): string {
  const life = BigInt(generation) & 0xffff_ffffn
  return `0x${((0x4452n << 48n) | (BigInt(sanlockHostId) << 32n) | life).toString(16)}`
}

/** Which host registered a key; null when it is none of ours. */
export function hostOfKey(key: string): { sanlockHostId: number; generation: number } | null {
  const value = BigInt(key)
  if (value >> 48n !== 0x4452n) return null
  return { sanlockHostId: Number((value >> 32n) & 0xffffn), generation: Number(value & 0xffff_ffffn) }
}

export const readKeys = (device: string) => ['--in', '--read-keys', device]
export const readReservation = (device: string) => ['--in', '--read-reservation', device]
/** Whatever was registered through this path before. It survives a power cut of the storage where it can. */
export const registerKey = (device: string, key: string) => [
  '--out',
  '--register-ignore',
  `--param-sark=${key}`,
  '--param-aptpl',
  device
]
export const unregisterKey = (device: string, key: string) => [
  '--out',
  '--register',
  `--param-rk=${key}`,
  '--param-sark=0',
  device
]
export const reserve = (device: string, key: string) => [
  '--out',
  '--reserve',
  `--param-rk=${key}`,
  ...type,
  device
]
/** Takes another host's registration away, on all its paths. "Abort" ends what it has on its way as well. */
export const preempt = (device: string, key: string, other: string) => [
  '--out',
  '--preempt-abort',
  `--param-rk=${key}`,
  `--param-sark=${other}`,
  ...type,
  device
]

/** The keys in `sg_persist --read-keys`, one for each path that is registered. */
export function parseKeys(stdout: string): string[] {
  const keys = [...stdout.matchAll(/^\s+(0x[0-9a-fA-F]{1,16})\s*$/gm)].map(([, key = '']) =>
    key.toLowerCase()
  )
  return keys.map(key => `0x${BigInt(key).toString(16)}`)
}

/** The reservation's type ("Write Exclusive, all registrants"); null where there is none. */
export function parseReservation(stdout: string): string | null {
  if (/there is NO reservation held/i.test(stdout)) return null
  return /scope:.*\btype:\s*(.+?)\s*$/m.exec(stdout)?.[1] ?? null
}

export const allRegistrants = /write exclusive, all registrants/i
/** What sg_persist ends with when a key is not (or no more) the one the LUN knows. */
export const reservationConflict = 24
