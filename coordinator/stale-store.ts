/** Keeps, durably, that the store may be older than the world. */
export type StaleMark = { isSet(): boolean; set(): void; clear(): void }

/** A host as it counts here: one that is proven to be stopped runs nothing, and has nothing to tell. */
export type TellingHost = { hostId: string; isStopped: boolean }

/**
 * Whether the store may be older than the world: after a restore, and when hosts obey another coordinator. Then
 * the host on record need not be the one that has the VM: it may have been started elsewhere or have moved since.
 * Where a lease guards a VM that is harmless. Any other is started again only when a host has said, since
 * the doubt arose, that it has it, or when every host has told what it has. With the last word the doubt is over.
 */
export class StaleStore {
  readonly #mark: StaleMark
  #isStale: boolean
  #awaited: string[] = []
  readonly #told = new Set<string>()
  /** Whatever was proven of them before: they have to tell. */
  readonly #suspects = new Set<string>()
  /** Which host has said last that it has the VM. */
  readonly #seenOn = new Map<string, string>()

  constructor(mark: StaleMark) {
    this.#mark = mark
    this.#isStale = mark.isSet()
  }

  get isStale(): boolean {
    return this.#isStale
  }

  /** Hosts that had not told when it was last settled. */
  get awaited(): readonly string[] {
    return this.#awaited
  }

  /**
   * Whoever refuses this coordinator may obey another, and what it was seen to have may be anywhere. So may what was
   * on hosts that are silent by now.
   */
  suspect(hostId: string): void {
    if (!this.#isStale) this.#mark.set()
    this.#isStale = true
    this.#told.delete(hostId)
    this.#suspects.add(hostId)
    for (const [vmId, seenOn] of this.#seenOn) if (!this.#told.has(seenOn)) this.#seenOn.delete(vmId)
  }

  noteVm(vmId: string, hostId: string): void {
    this.#seenOn.set(vmId, hostId)
  }

  /** Everything that the host has was told, and is written down. */
  noteTold(hostId: string): void {
    this.#told.add(hostId)
  }

  /** Its stream is over: what it tells next counts. */
  noteSilent(hostId: string): void {
    this.#told.delete(hostId)
  }

  /** Whether it is known where the VM would run if it ran. */
  isKnown(vmId: string, hasLease: boolean): boolean {
    return !this.#isStale || hasLease || this.#seenOn.has(vmId)
  }

  /** Ends the doubt when every host has told. */
  settle(hosts: readonly TellingHost[]): void {
    if (!this.#isStale) return
    const missing = hosts.filter(({ hostId, isStopped }) => {
      return !this.#told.has(hostId) && !(isStopped && !this.#suspects.has(hostId))
    })
    this.#awaited = missing.map(({ hostId }) => hostId)
    if (missing.length > 0) return
    this.#isStale = false
    this.#suspects.clear()
    this.#mark.clear()
  }
}
