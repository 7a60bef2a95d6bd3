import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { seconds, type Seconds } from '../../common/units.js'
import { readDirect } from '../direct-io.js'
import { readSanlockRecord } from '../format/sanlock-record.js'
import type { Sanlock } from '../sanlock.js'
import type { Resource } from '../storage-domain.js'

/** How long sanlock's word is believed without asking again. */
const believed = seconds(10)

type Standing = { ownerId: bigint; generation: bigint; version: bigint }

/**
 * Whether this process still is the manager, asked before each batch of writes. Sanlock kills a process whose
 * lease is lost; but a whole host that stood still for minutes, sanlock with it, goes on in any order. So the lease
 * itself is read as well: it names another owner, or another version, once somebody else has taken it.
 *
 *      frozen host                            another host
 *      takes SDM, version 7
 *      ... stands still ...                   8 x io timeout + 60 s later: takes SDM, version 8
 *      goes on: next batch
 *        reads the lease: version 8  ──►  writes nothing, ends
 */
export class ManagerFence {
  readonly #sanlock: Sanlock
  readonly #resource: Resource
  readonly #clock: Clock
  readonly #standing: Standing
  #askedAt: Seconds

  private constructor(sanlock: Sanlock, resource: Resource, clock: Clock, standing: Standing) {
    this.#sanlock = sanlock
    this.#resource = resource
    this.#clock = clock
    this.#standing = standing
    this.#askedAt = clock.monotonic()
  }

  /** Directly after the lease was taken. */
  static async of(sanlock: Sanlock, resource: Resource, clock: Clock): Promise<ManagerFence> {
    return new ManagerFence(sanlock, resource, clock, await readStanding(resource))
  }

  /** Grows with each change of manager. */
  get leaseVersion(): number {
    return Number(this.#standing.version)
  }

  /** A fault says that another host may be the manager: whoever gets it writes nothing any more. */
  async throwIfLost(signal: AbortSignal): Promise<void> {
    const { ownerId, generation, version } = await readStanding(this.#resource)
    const held = this.#standing
    if (ownerId !== held.ownerId || generation !== held.generation || version !== held.version) {
      throw lost(`the lease belongs to host ${ownerId} now (version ${version}, ours was ${held.version})`)
    }
    if (this.#clock.monotonic() - this.#askedAt > believed) await this.ask(signal)
  }

  /** Asks sanlock whether this process holds the lease. */
  async ask(signal: AbortSignal): Promise<void> {
    const began = this.#clock.monotonic()
    const held = await this.#sanlock.heldBy(process.pid, signal)
    const { lockspace, name } = this.#resource
    if (!held.some(text => text.startsWith(`${lockspace}:${name}:`)))
      throw lost('sanlock does not know that this process holds it')
    this.#askedAt = began
  }
}

async function readStanding({ path, offset }: Resource): Promise<Standing> {
  const record = readSanlockRecord(await readDirect(path, offset, 4096))
  if (record === null || !record.checksumValid || record.timestamp === 0n) {
    throw lost('nobody holds the lease')
  }
  return { ownerId: record.ownerId, generation: record.ownerGeneration, version: record.leaseVersion }
}

const lost = (why: string) => new Fault('NOT_MANAGER', `this host is not the manager any more: ${why}`)
