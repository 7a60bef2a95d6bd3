import type { SimWorld } from './world.js'

const lease = 'SDM'
const writeEvery = 7
const tryEvery = 5

/**
 * The manager of the storage domain: the holder of its lease, and metadata writes that cannot be recalled once
 * they are under way. A machine that hangs keeps its write, and lets it land when it goes on.
 */
export class SimManager {
  readonly #world: SimWorld
  /** What each host believes to be: the lease's version while it is manager. */
  readonly #believes = new Map<string, number>()
  #inFlight: Array<{ host: string; version: number; lands: number }> = []
  #landed = 0

  constructor(world: SimWorld) {
    this.#world = world
  }

  get holder(): string | null {
    return this.#world.sanlock.leases.get(lease)?.owner ?? null
  }

  believes(host: string): boolean {
    return this.#believes.has(host)
  }

  tick(): void {
    const { machines, sanlock, now } = this.#world
    for (const host of machines.values()) {
      if (!host.isOn || now < host.hungUntil || !host.inLockspace || !host.storage) continue
      const believes = this.#believes.get(host.id)
      if (believes !== undefined) {
        if (now % writeEvery === 0) this.#inFlight.push({ host: host.id, version: believes, lands: now + 2 })
      } else if (host.killedAt === null && now % tryEvery === 0 && this.#take(host.id)) {
        this.#believes.set(host.id, sanlock.leases.get(lease)?.version ?? 0)
        this.#world.tell(`${host.id} is manager`)
      }
    }
    this.#land()
  }

  #take(host: string): boolean {
    const { sanlock, now, rules } = this.#world
    const owner = sanlock.leases.get(lease)?.owner ?? null
    const record = owner === null ? undefined : sanlock.records.get(owner)
    const isEarly =
      record !== undefined && rules.deadAfter !== null && now - record.lastRenewal >= rules.deadAfter
    if (isEarly && owner !== null) sanlock.release(lease, owner)
    return sanlock.acquire(lease, host, now)
  }

  #land(): void {
    const { machines, now } = this.#world
    const due = this.#inFlight.filter(({ host, lands }) => {
      const where = machines.get(host)
      return lands <= now && where?.isOn === true && where.storage && now >= where.hungUntil
    })
    this.#inFlight = this.#inFlight.filter(write => !due.includes(write))
    for (const { host, version } of due) {
      if (version < this.#landed)
        this.#world.find(
          'I10',
          `${host} wrote as manager ${version} after manager ${this.#landed} had written`
        )
      this.#landed = Math.max(this.#landed, version)
    }
    const believers = [...this.#believes.keys()].filter(
      id => machines.get(id)?.isOn && now >= (machines.get(id)?.hungUntil ?? 0)
    )
    if (believers.length > 1) this.#world.find('I10', `${believers.join(' and ')} are managers`)
  }

  /** Its worker was killed: with it go its role and the write under way. */
  kill(host: string): void {
    this.#believes.delete(host)
    this.#inFlight = this.#inFlight.filter(write => write.host !== host)
  }

  leave(host: string): void {
    this.kill(host)
    this.#world.sanlock.release(lease, host)
  }
}
