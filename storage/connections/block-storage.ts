import { readdir } from 'node:fs/promises'
import type { HostPort } from '../../common/address-rules.js'
import { type Clock, sleep } from '../../common/clock.js'
import { orAborted, within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import type { Run } from '../../common/run.js'
import { seconds, type Seconds } from '../../common/units.js'
import { type BlockDisk, readBlockDisks } from './block-disks.js'
import type { IscsiConnection } from './connection.js'
import { readDeviceUses } from './device-uses.js'
import { Iscsi, type LoginOutcome } from './iscsi.js'
import { type IscsiSession, readSessions } from './iscsi-sessions.js'
import type { Chap } from './iscsi-settings.js'
import type { IscsiPortal } from './iscsi-target.js'
import type { LunContent } from './lun-contents.js'
import { LunProber } from './lun-prober.js'
import { groupLuns, judgeLun, type Lun, type LunUse, throwUnlessForGuest, throwUnlessUsable } from './luns.js'
import { Multipath } from './multipath.js'

export type LunReport = Lun & {
  /** Null where it does not answer. */
  contents: LunContent[] | null
  use: LunUse
  sessions: IscsiSession[]
}
export type BlockStorageOptions = { run: Run; clock: Clock; log: Logger; iscsi?: Iscsi }
export type LoginSettings = { chap: Chap | null; ioTimeout: Seconds }

/** SAN storage of this host: makes LUNs appear, says what they are, and lets go of them. */
export class BlockStorage {
  readonly #run: Run
  readonly #clock: Clock
  readonly #log: Logger
  readonly #iscsi: Iscsi
  readonly #multipath: Multipath
  readonly #prober: LunProber

  constructor({ run, clock, log, iscsi = new Iscsi({ run }) }: BlockStorageOptions) {
    this.#run = run
    this.#clock = clock
    this.#log = log
    this.#iscsi = iscsi
    this.#multipath = new Multipath(run, clock)
    this.#prober = new LunProber(log)
  }

  discover(portal: HostPort, chap: Chap | null, signal: AbortSignal): Promise<IscsiPortal[]> {
    return this.#iscsi.discover(portal, chap, signal)
  }

  /** Logs in through all portals at once, and waits until the kernel and udev know the disks behind them. */
  async login(
    portals: readonly IscsiPortal[],
    { chap, ioTimeout }: LoginSettings,
    signal: AbortSignal
  ): Promise<LoginOutcome[]> {
    const multipath = await this.#multipath.isRunning(signal)
    const outcomes = await this.#iscsi.login(portals, { chap, ioTimeout, multipath }, signal)
    for (const { portal, outcome, problem } of outcomes.filter(({ outcome }) => outcome === 'failed'))
      this.#log.warn({ ...portal, outcome, problem }, 'iscsi login failed')
    await this.#settle(signal)
    return outcomes
  }

  logout(portals: readonly IscsiPortal[], signal: AbortSignal): Promise<void> {
    return this.#iscsi.logout(portals, signal)
  }

  /** New LUNs and new sizes: asks every session, every Fibre Channel adapter and every disk. */
  async rescan(signal: AbortSignal): Promise<void> {
    const limit = within(seconds(30), signal)
    const fc = await readdir('/sys/class/fc_host').catch(() => [] as string[])
    const disks = (await readBlockDisks()).filter(({ mapper, wwid }) => mapper === null && wwid !== null)
    // Each in a program: a write to such a file waits for the disk.
    const writes = [
      ...fc.map(host => [`/sys/class/scsi_host/${host}/scan`, '- - -']),
      ...disks.map(({ name }) => [`/sys/block/${name}/device/rescan`, '1'])
    ]
    await Promise.allSettled([
      this.#iscsi.rescan(limit),
      ...writes.map(([file = '', input = '']) =>
        orAborted(this.#run('tee', ['--', file], limit, { input }), limit)
      )
    ])
    signal.throwIfAborted()
    await this.#settle(signal)
  }

  /** All LUNs of this host. What does not answer within 15 s is listed without its contents. */
  async luns(signal: AbortSignal): Promise<LunReport[]> {
    const luns = await this.#find()
    const [found, sessions] = await Promise.all([this.#prober.probe(luns, signal), readSessions()])
    return luns.map(lun => {
      const contents = found.get(lun.wwid) ?? null
      const disks = new Set(lun.paths.map(({ disk }) => disk))
      return {
        ...lun,
        contents,
        use: judgeLun(lun, contents),
        sessions: sessions.filter(session => session.disks.some(disk => disks.has(disk)))
      }
    })
  }

  /** The SCSI disks of every LUN, by its WWID. */
  async paths(signal: AbortSignal): Promise<Map<string, string[]>> {
    const luns = await this.#find()
    signal.throwIfAborted()
    return new Map(luns.map(({ wwid, paths }) => [wwid, paths.map(({ disk }) => `/dev/${disk}`)]))
  }

  /** The devices of a connection's LUNs, in its order. Logs in and waits for them. */
  async connect(
    connection: IscsiConnection,
    settings: LoginSettings,
    signal: AbortSignal
  ): Promise<string[]> {
    await this.login(connection.portals, settings, signal)
    for (let attempt = 1; ; attempt++) {
      const luns = new Map((await this.#find()).map(lun => [lun.wwid, lun.device]))
      const devices = connection.luns.map(wwid => luns.get(wwid))
      const missing = connection.luns.filter(wwid => !luns.has(wwid))
      if (missing.length === 0) return devices.filter(device => device !== undefined)
      if (attempt === attempts) {
        const message = `this host does not see LUN ${missing.join(', ')}`
        throw new Fault('STORAGE_UNREACHABLE', message, { facts: { missing: missing.join(' ') } })
      }
      if (attempt === 2) await this.rescan(signal)
      await sleep(this.#clock, seconds(1), signal)
    }
  }

  /** The last look before LUNs become a storage domain. One that has begun to be that very one may go on. */
  async throwIfTaken(wwids: readonly string[], storageDomainId: string, signal: AbortSignal): Promise<void> {
    const wanted = (await this.#find()).filter(({ wwid }) => wwids.includes(wwid))
    const contents = await this.#prober.probe(wanted, signal)
    for (const lun of wanted) throwUnlessUsable(lun, contents.get(lun.wwid) ?? null, storageDomainId)
  }

  /** The sessions through which LUNs are reached. */
  async sessionsOf(wwids: readonly string[]): Promise<IscsiSession[]> {
    if (wwids.length === 0) return []
    const [luns, sessions] = await Promise.all([this.#find(), readSessions()])
    const disks = new Set(
      luns.filter(({ wwid }) => wwids.includes(wwid)).flatMap(({ paths }) => paths.map(({ disk }) => disk))
    )
    return sessions.filter(session => session.disks.some(disk => disks.has(disk)))
  }

  /** The device of a LUN for a VM, with whatever a guest has on it; looked for once more where it is not here. */
  async forVm({ wwid, readOnly }: { wwid: string; readOnly: boolean }, signal: AbortSignal): Promise<string> {
    const find = async () => (await this.#find()).find(lun => lun.wwid === wwid)
    let lun = await find()
    if (!lun) {
      await this.rescan(signal)
      lun = await find()
    }
    if (!lun) {
      const text = `this host does not see LUN ${wwid}`
      throw new Fault('WRONG_STATE', text, { facts: { lun: wwid } })
    }
    const contents = (await this.#prober.probe([lun], signal)).get(wwid) ?? null
    throwUnlessForGuest(lun, contents, readOnly)
    return lun.device
  }

  /** Ends sessions that nothing else of ours uses; `stillUsed` are portals of other connections. */
  async disconnect(
    connection: IscsiConnection,
    stillUsed: readonly IscsiPortal[],
    signal: AbortSignal
  ): Promise<void> {
    const key = ({ iqn, host, port }: IscsiPortal) => `${iqn} ${host} ${port}`
    const used = new Set(stillUsed.map(key))
    await this.#iscsi.logout(
      connection.portals.filter(portal => !used.has(key(portal))),
      signal
    )
  }

  async #find(): Promise<Lun[]> {
    const [disks, uses]: [BlockDisk[], Awaited<ReturnType<typeof readDeviceUses>>] = await Promise.all([
      readBlockDisks(),
      readDeviceUses()
    ])
    return groupLuns(disks, uses)
  }

  async #settle(signal: AbortSignal): Promise<void> {
    const limit = within(seconds(10), signal)
    const settled = this.#run('udevadm', ['settle', '--timeout=5'], limit, { okCodes: [0, 1] })
    await orAborted(settled, limit).catch(() => {})
    signal.throwIfAborted()
    if (await this.#multipath.isRunning(signal)) await this.#multipath.settle(signal)
  }
}

const attempts = 10
