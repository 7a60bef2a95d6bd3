import { chmod, readFile, writeFile } from 'node:fs/promises'
import { orAborted, within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import type { HostPort } from '../../common/address-rules.js'
import type { Run } from '../../common/run.js'
import { seconds } from '../../common/units.js'
import { ifThere } from '../files.js'
import * as iscsiadm from './iscsi-args.js'
import { readSessions, sessionOf } from './iscsi-sessions.js'
import { type Chap, discoverySettings, editRecord, recordHasChap, sessionSettings } from './iscsi-settings.js'
import type { SessionSettings } from './iscsi-settings.js'
import { type IscsiPortal, parseDiscovery, portalText } from './iscsi-target.js'

export type IscsiOptions = {
  run: Run
  /** Where iscsiadm keeps its records; for root alone. */
  directory?: string
  sys?: string
}

/** How a login through one portal ended. One that fails does not stop the others. */
export type LoginOutcome = {
  portal: IscsiPortal
  outcome: 'loggedIn' | 'already' | 'failed'
  problem: string
}

const atOnce = 10

/** Sessions to iSCSI targets, by iscsiadm and iscsid. */
export class Iscsi {
  readonly #run: Run
  readonly #directory: string
  readonly #sys: string
  /** Records are made and changed one after the other: iscsiadm's own lock gives up after some seconds. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor({ run, directory = '/etc/iscsi', sys = '/sys' }: IscsiOptions) {
    this.#run = run
    this.#directory = directory
    this.#sys = sys
  }

  /** The targets that a portal offers. What it says is checked, and nothing of it is kept. */
  discover(portal: HostPort, chap: Chap | null, signal: AbortSignal): Promise<IscsiPortal[]> {
    return this.#alone(async () => {
      const limit = within(seconds(60), signal)
      await this.#iscsiadm(iscsiadm.newDiscovery(portal), portalText(portal), limit)
      try {
        await this.#edit(iscsiadm.discoveryRecord(portal), discoverySettings(chap))
        return parseDiscovery(await this.#iscsiadm(iscsiadm.discover(portal), portalText(portal), limit))
      } finally {
        // The record has the secret; it goes whatever the caller thinks by now.
        await this.#run('iscsiadm', iscsiadm.forgetDiscovery(portal), AbortSignal.timeout(10_000), {
          okCodes: [0, iscsiadm.exitCodes.noObject]
        }).catch(() => {})
      }
    })
  }

  /** Logs in through every portal at once; fails when none answers. A session that is there already counts. */
  async login(
    portals: readonly IscsiPortal[],
    settings: SessionSettings,
    signal: AbortSignal
  ): Promise<LoginOutcome[]> {
    const outcomes: LoginOutcome[] = []
    const waiting = [...portals]
    const worker = async () => {
      for (let portal = waiting.shift(); portal !== undefined; portal = waiting.shift())
        outcomes.push(await this.#loginOne(portal, settings, signal))
    }
    await Promise.all(Array.from({ length: Math.min(atOnce, portals.length) }, worker))
    signal.throwIfAborted()
    if (portals.length > 0 && outcomes.every(({ outcome }) => outcome === 'failed')) {
      const refused = outcomes.every(({ problem }) => problem.includes(refusedText))
      const all = outcomes.map(({ portal, problem }) => `${portalText(portal)}: ${problem}`).join('; ')
      throw new Fault(
        refused ? 'STORAGE_LOGIN_REFUSED' : 'STORAGE_UNREACHABLE',
        `no portal lets us in: ${all}`
      )
    }
    return outcomes
  }

  async #loginOne(
    portal: IscsiPortal,
    settings: SessionSettings,
    signal: AbortSignal
  ): Promise<LoginOutcome> {
    try {
      if (sessionOf(await readSessions(this.#sys), portal) !== null)
        return { portal, outcome: 'already', problem: '' }
      await this.#alone(() => this.#record(portal, settings, signal))
      const limit = within(seconds(90), signal)
      const { code } = await orAborted(
        this.#run('iscsiadm', iscsiadm.login(portal), limit, {
          okCodes: [0, iscsiadm.exitCodes.sessionExists]
        }),
        limit
      )
      return { portal, outcome: code === 0 ? 'loggedIn' : 'already', problem: '' }
    } catch (error) {
      await this.#alone(() => this.#forget(portal)).catch(() => {})
      return { portal, outcome: 'failed', problem: problemOf(error) }
    }
  }

  /**
   * The record of a session. After a restart nobody gives us the secrets again: a record that has some keeps them,
   * and everything else is set anew.
   */
  async #record(portal: IscsiPortal, settings: SessionSettings, signal: AbortSignal): Promise<void> {
    const path = iscsiadm.nodeRecord(portal)
    const known = await ifThere(readFile(`${this.#directory}/${path}`, 'utf8'))
    const wanted = sessionSettings(settings)
    if (settings.chap === null && known !== null && recordHasChap(known)) {
      wanted.delete('node.session.auth.authmethod')
    } else {
      await this.#iscsiadm(iscsiadm.newNode(portal), portalText(portal), within(seconds(30), signal))
    }
    await this.#edit(path, wanted)
  }

  /** Ends the sessions through these portals and forgets their records with the secrets in them. */
  async logout(portals: readonly IscsiPortal[], signal: AbortSignal): Promise<void> {
    const sessions = await readSessions(this.#sys)
    await Promise.all(
      portals.map(async portal => {
        if (sessionOf(sessions, portal) !== null) {
          const limit = within(seconds(60), signal)
          await orAborted(
            this.#run('iscsiadm', iscsiadm.logout(portal), limit, {
              okCodes: [0, iscsiadm.exitCodes.noObject]
            }),
            limit
          )
        }
        await this.#alone(() => this.#forget(portal))
      })
    )
  }

  /** Looks for LUNs that the targets have gained, and for new sizes. */
  async rescan(signal: AbortSignal): Promise<void> {
    const limit = within(seconds(30), signal)
    const okCodes = [0, iscsiadm.exitCodes.noObject]
    await orAborted(this.#run('iscsiadm', iscsiadm.rescanSessions, limit, { okCodes }), limit)
  }

  async #forget(portal: IscsiPortal): Promise<void> {
    const okCodes = [0, iscsiadm.exitCodes.noObject]
    await this.#run('iscsiadm', iscsiadm.forgetNode(portal), AbortSignal.timeout(30_000), { okCodes })
  }

  async #edit(path: string, settings: ReadonlyMap<string, string>): Promise<void> {
    const file = `${this.#directory}/${path}`
    const record = await readFile(file, 'utf8')
    // Never readable by others, not even between two calls.
    await chmod(file, 0o600)
    await writeFile(file, editRecord(record, settings), { mode: 0o600 })
  }

  async #iscsiadm(args: string[], portal: string, signal: AbortSignal): Promise<string> {
    try {
      return (await orAborted(this.#run('iscsiadm', args, signal), signal)).stdout
    } catch (cause) {
      if (!Fault.is(cause, 'COMMAND_FAILED')) throw cause
      const reason = isRefusal(cause) ? 'STORAGE_LOGIN_REFUSED' : 'STORAGE_UNREACHABLE'
      throw new Fault(reason, `${portal}: ${problemOf(cause)}`, { cause, facts: { portal } })
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }
}

const refusedText = 'the login is refused'
const isRefusal = ({ facts }: Fault) =>
  [iscsiadm.exitCodes.loginRefused, iscsiadm.exitCodes.loginFailed]
    .map(String)
    .includes(facts['exitCode'] ?? '')

/** In few words: iscsiadm prints each thing twice, with the record before it. */
function problemOf(error: unknown): string {
  if (!Fault.is(error, 'COMMAND_FAILED')) return error instanceof Error ? error.message : String(error)
  if (isRefusal(error))
    return `${refusedText}: a user or secret is wrong on either side, or this host is not on its list`
  const said = error.message
    .split('\n')
    .find(line => line.startsWith('iscsiadm:') && !line.includes('System has'))
  return (said ?? error.message).replace('iscsiadm: ', '').slice(0, 300)
}
