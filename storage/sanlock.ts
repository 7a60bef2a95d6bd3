import { sleep, type Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Run, RunResult } from '../common/run.js'
import { type Bytes, bytes, seconds, type Seconds } from '../common/units.js'
import type { Geometry, LeaseOwner, Resource } from './storage-domain.js'

/**
 * `daemon`: leases are taken through the sanlock daemon of this host. `direct`: they are written in their place
 * with the same bytes but never taken, so one process alone may use the storage domain (tests, hosts without
 * shared storage).
 */
export type SanlockMode = 'daemon' | 'direct'
export type SanlockSettings = {
  mode: SanlockMode
  /** Where a private daemon has its socket; null is the system's. */
  runDirectory: string | null
}

export type Lockspace = { name: string; sanlockHostId: number; path: string }
export type SanlockHost = { sanlockHostId: number; generation: number; timestamp: number; state: string }

// Owned by a live host; owned by somebody while we tried; another host won the race for it just now.
const contended = [-243, -244, -245]
const notThere = -2
const alreadyJoined = -17
const inProgress = -115

/** The sanlock command line: typed arguments in, parsed results out, failures told apart by number. */
export class Sanlock {
  readonly mode: SanlockMode
  readonly #run: Run
  readonly #clock: Clock
  readonly #environment: string[]

  constructor(settings: SanlockSettings, run: Run, clock: Clock) {
    this.mode = settings.mode
    this.#run = run
    this.#clock = clock
    this.#environment = sanlockEnvironment(settings)
  }

  async writeLockspace(lockspace: Lockspace, timeout: Seconds, geometry: Geometry, signal: AbortSignal) {
    await this.#write(['-s', lockspaceText(lockspace), '-o', String(timeout), ...shape(geometry)], signal)
  }

  /** Also frees the lease if it is held: only for leases that nobody can hold yet or any more. */
  async writeResource(resource: Resource, geometry: Geometry, signal: AbortSignal): Promise<void> {
    await this.#write(['-r', resourceText(resource), ...shape(geometry)], signal)
  }

  /** What the daemon's own tool leaves where a lease was: a resource without names. */
  async clearResource(resource: Resource, geometry: Geometry, signal: AbortSignal): Promise<void> {
    await this.writeResource({ ...resource, lockspace: '', name: '' }, geometry, signal)
  }

  /** Joining takes 2 to 5 io timeouts, and minutes after an unclean death. */
  async join(lockspace: Lockspace, timeout: Seconds, signal: AbortSignal): Promise<void> {
    const args = ['add_lockspace', '-s', lockspaceText(lockspace), '-o', String(timeout)]
    for (;;) {
      const outcome = await this.#client(args, signal)
      if (outcome === 0 || outcome === alreadyJoined) return
      if (outcome !== inProgress) throw refused('join the lockspace', lockspace.name, outcome)
      await sleep(this.#clock, seconds(1), signal)
    }
  }

  async leave(lockspace: Lockspace, signal: AbortSignal): Promise<void> {
    const outcome = await this.#client(['rem_lockspace', '-s', lockspaceText(lockspace)], signal)
    if (outcome !== 0 && outcome !== notThere) throw refused('leave the lockspace', lockspace.name, outcome)
  }

  async isJoined(lockspace: Lockspace, signal: AbortSignal): Promise<boolean> {
    return (await this.#client(['inq_lockspace', '-s', lockspaceText(lockspace)], signal)) === 0
  }

  /** This host's number in a lockspace that it has joined; null otherwise. */
  async hostIdIn(lockspace: string, signal: AbortSignal): Promise<number | null> {
    return (await this.joined(lockspace, signal))?.sanlockHostId ?? null
  }

  /** A lockspace as the daemon has joined it: its device may have another name by now. */
  async joined(name: string, signal: AbortSignal): Promise<Lockspace | null> {
    const { stdout } = await this.#sanlock(['client', 'status'], signal)
    const found = stdout.split('\n').find(line => line.startsWith(`s ${name}:`))
    if (found === undefined) return null
    const [, sanlockHostId = '', ...rest] = found.trim().split(':')
    return { name, sanlockHostId: Number(sanlockHostId), path: rest.slice(0, -1).join(':') }
  }

  async hosts(lockspace: string, signal: AbortSignal): Promise<SanlockHost[]> {
    const { stdout } = await this.#sanlock(['client', 'gets', '-h', '1'], signal)
    return parseHosts(stdout, lockspace)
  }

  /**
   * Takes a lease for a process that is registered. While its owner lives, it is tried again every 0.25 s, and
   * `onHeld` is called each time: somebody may ask the owner for it.
   */
  async acquire(resource: Resource, pid: number, signal: AbortSignal, onHeld = () => {}): Promise<void> {
    for (;;) {
      const outcome = await this.#client(['acquire', '-r', resourceText(resource), '-p', String(pid)], signal)
      if (outcome === 0 || outcome === alreadyJoined) return
      if (!contended.includes(outcome)) throw refused('acquire the lease', resource.name, outcome)
      onHeld()
      try {
        await sleep(this.#clock, seconds(0.25), signal)
      } catch (cause) {
        throw new Fault('LEASE_HELD', `another host holds the lease ${resource.name}`, { cause })
      }
    }
  }

  async release(resource: Resource, pid: number, signal: AbortSignal): Promise<void> {
    const outcome = await this.#client(['release', '-r', resourceText(resource), '-p', String(pid)], signal)
    if (outcome !== 0 && outcome !== notThere) throw refused('release the lease', resource.name, outcome)
  }

  /** The resources that sanlock knows a process to hold, as `LOCKSPACE:NAME:PATH:OFFSET:…`. */
  async heldBy(pid: number, signal: AbortSignal): Promise<string[]> {
    const { stdout } = await this.#sanlock(['client', 'inquire', '-p', String(pid)], signal)
    return [...stdout.matchAll(/[^\s"]+:[^\s"]+:[^\s"]+:\d+\S*/g)].map(([text]) => text)
  }

  /**
   * Waits until a lease is free, by taking it and giving it back: one open, blocking acquire that returns soon
   * after its owner is dead. While the owner looks alive, it is tried again every 2 s.
   */
  async await(resource: Resource, signal: AbortSignal): Promise<void> {
    const args = ['client', 'command', '-r', resourceText(resource), '-c', '/bin/true']
    for (;;) {
      const { code, stdout } = await this.#sanlock(args, signal)
      if (code === 0) return
      const outcome = outcomeIn(stdout.slice(stdout.indexOf('acquire')))
      if (!contended.includes(outcome)) throw refused('acquire the lease', resource.name, outcome)
      await sleep(this.#clock, seconds(2), signal)
    }
  }

  /** What a program is started with so that it holds a lease of its own, and dies with it. */
  holding(resource: Resource): string[] {
    if (this.mode === 'direct') return []
    return [...this.#environment, 'sanlock', 'client', 'command', '-r', resourceText(resource), '-c']
  }

  async owner(resource: Resource, signal: AbortSignal): Promise<LeaseOwner | null> {
    const { code, stdout } = await this.#sanlock(
      ['direct', 'read_leader', '-r', resourceText(resource)],
      signal
    )
    return code === 0 ? parseOwner(stdout) : null
  }

  async #write(args: string[], signal: AbortSignal): Promise<void> {
    const door = this.mode === 'daemon' ? 'client' : 'direct'
    const { code, stdout } = await this.#sanlock([door, 'init', ...args], signal)
    if (code !== 0) throw refused('write the lease', args[1] ?? '', outcomeIn(stdout))
  }

  async #client(args: string[], signal: AbortSignal): Promise<number> {
    const { code, stdout } = await this.#sanlock(['client', ...args], signal)
    return code === 0 ? 0 : outcomeIn(stdout)
  }

  #sanlock(args: string[], signal: AbortSignal): Promise<RunResult> {
    const [command = 'sanlock', ...rest] = [...this.#environment, 'sanlock', ...args]
    return this.#run(command, rest, signal, { okCodes: [0, 1] })
  }
}

/** The words in front of `sanlock` that make it find a private daemon. */
export function sanlockEnvironment({ runDirectory }: SanlockSettings): string[] {
  return runDirectory === null ? [] : ['env', `SANLOCK_RUN_DIR=${runDirectory}`]
}

const shape = ({ sectorSize, alignment }: Geometry) => [
  '-Z',
  String(sectorSize),
  '-A',
  `${alignment / 2 ** 20}M`
]
const escaped = (path: string) => path.replaceAll(':', '\\:')

export function lockspaceText({ name, sanlockHostId, path }: Lockspace): string {
  return `${name}:${sanlockHostId}:${escaped(path)}:0`
}

export function resourceText({ lockspace, name, path, offset }: Resource): string {
  return `${lockspace}:${name}:${escaped(path)}:${offset}`
}

/** `acquire done -243`: the number is what counts. */
function outcomeIn(stdout: string): number {
  return Number(/done (-?\d+)/.exec(stdout)?.[1] ?? -1)
}

function refused(what: string, name: string, outcome: number): Fault {
  if (contended.includes(outcome)) return new Fault('LEASE_HELD', `another host holds the lease ${name}`)
  return new Fault('COMMAND_FAILED', `sanlock could not ${what} ${name}: ${outcome}`, {
    facts: { outcome: String(outcome) }
  })
}

/** Lines `h 2 gen 1 timestamp 949 LIVE` below the line `s NAME:…` of their lockspace. */
export function parseHosts(text: string, lockspace: string): SanlockHost[] {
  const hosts: SanlockHost[] = []
  let inside = false
  for (const line of text.split('\n')) {
    if (line.startsWith('s ')) inside = line.startsWith(`s ${lockspace}:`)
    const host = /^h (\d+) gen (\d+) timestamp (\d+) (\w+)/.exec(line)
    if (!inside || host === null) continue
    const [, id, generation, timestamp, state = 'UNKNOWN'] = host
    hosts.push({
      sanlockHostId: Number(id),
      generation: Number(generation),
      timestamp: Number(timestamp),
      state
    })
  }
  return hosts
}

function parseOwner(text: string): LeaseOwner | null {
  const value = (key: string) => Number(new RegExp(`^${key} (\\d+)`, 'm').exec(text)?.[1] ?? 0)
  const timestamp = value('timestamp')
  if (timestamp === 0) return null
  return { sanlockHostId: value('owner_id'), generation: value('owner_generation'), timestamp }
}

export const atStart: Bytes = bytes(0)
