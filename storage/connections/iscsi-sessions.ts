import { readdir, readFile } from 'node:fs/promises'
import { ifThere } from '../files.js'
import type { IscsiPortal } from './iscsi-target.js'

/** A session of this host's kernel, as /sys shows it: no program is run, and nothing that hangs is touched. */
export type IscsiSession = IscsiPortal & {
  /** For example "session3", the number the kernel gave it. */
  name: string
  /** LOGGED_IN, FAILED (its connection is lost and comes back or not) or FREE. */
  state: string
  /** Seconds for which I/O is kept after the connection is lost. */
  recoverySeconds: number
  /** SCSI disks that came through it, for example "sdb". */
  disks: string[]
}

export async function readSessions(sys = '/sys'): Promise<IscsiSession[]> {
  const names = (await ifThere(readdir(`${sys}/class/iscsi_session`))) ?? []
  const sessions = await Promise.all(names.map(name => readSession(sys, name)))
  return sessions.filter(session => session !== null)
}

async function readSession(sys: string, name: string): Promise<IscsiSession | null> {
  const folder = `${sys}/class/iscsi_session/${name}`
  const connection = `${sys}/class/iscsi_connection/connection${name.replace(/^session/, '')}:0`
  const text = async (path: string) => ((await readFile(path, 'utf8').catch(() => '')) || '').trim()
  const [iqn, state, group, recovery, host, port] = await Promise.all([
    text(`${folder}/targetname`),
    text(`${folder}/state`),
    text(`${folder}/tpgt`),
    text(`${folder}/recovery_tmo`),
    text(`${connection}/persistent_address`),
    text(`${connection}/persistent_port`)
  ])
  // It may end while we look at it.
  if (iqn === '') return null
  return {
    name,
    iqn,
    state,
    group: Number(group) || 1,
    recoverySeconds: Number(recovery) || 0,
    host,
    port: Number(port) || 0,
    disks: await disksBelow(`${folder}/device`)
  }
}

/** device/targetH:C:I/H:C:I:L/block/sdX */
async function disksBelow(device: string): Promise<string[]> {
  const list = async (path: string) => (await readdir(path).catch(() => [])) as string[]
  const found: string[] = []
  for (const target of (await list(device)).filter(name => name.startsWith('target'))) {
    for (const unit of (await list(`${device}/${target}`)).filter(name => /^\d+:\d+:\d+:\d+$/.test(name)))
      found.push(...(await list(`${device}/${target}/${unit}/block`)))
  }
  return found
}

/** The session to one portal of a target. */
export function sessionOf(sessions: readonly IscsiSession[], portal: IscsiPortal): IscsiSession | null {
  const same = ({ iqn, host, port }: IscsiSession) =>
    iqn === portal.iqn && host === portal.host && port === portal.port
  return sessions.find(same) ?? null
}
