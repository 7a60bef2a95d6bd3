// The law of sanlock (io_timeout N): hosts renew a record every 2N; after 8N without a renewal the holder's
// own daemon kills what holds leases; a hardware watchdog resets the machine if that fails; others may take
// the leases 8N + 60 s after the last renewal that they saw.

export type HostRecord = { generation: number; lastRenewal: number; isFree: boolean }
export type VmLease = { owner: string | null; ownerGeneration: number; version: number }

export class SimSanlock {
  readonly ioTimeout: number
  readonly records = new Map<string, HostRecord>()
  readonly leases = new Map<string, VmLease>()

  constructor(ioTimeout: number) {
    this.ioTimeout = ioTimeout
  }

  get renewEvery(): number {
    return 2 * this.ioTimeout
  }
  get failAfter(): number {
    return 8 * this.ioTimeout
  }
  get deadAfter(): number {
    return 8 * this.ioTimeout + 60
  }

  join(host: string, now: number): void {
    const generation = (this.records.get(host)?.generation ?? 0) + 1
    this.records.set(host, { generation, lastRenewal: now, isFree: false })
  }

  renew(host: string, now: number): void {
    const record = this.records.get(host)
    if (record && !record.isFree) record.lastRenewal = now
  }

  /** What every reader of the lockspace sees, given its age. */
  isDead(host: string, generation: number, now: number): boolean {
    const record = this.records.get(host)
    if (!record) return true
    return record.isFree || record.generation !== generation || now - record.lastRenewal >= this.deadAfter
  }

  /** Acquiring is the only test of a lease: false while a live owner has it. */
  acquire(vm: string, host: string, now: number): boolean {
    const lease = this.leases.get(vm) ?? { owner: null, ownerGeneration: 0, version: 0 }
    if (lease.owner !== null && !this.isDead(lease.owner, lease.ownerGeneration, now)) return false
    const generation = this.records.get(host)?.generation ?? 0
    this.leases.set(vm, { owner: host, ownerGeneration: generation, version: lease.version + 1 })
    return true
  }

  release(vm: string, host: string): void {
    const lease = this.leases.get(vm)
    if (lease?.owner === host) lease.owner = null
  }

  /** Writes the record of a host that is proven off as if it had left; refused if it changed since the proof. */
  clear(host: string, generation: number, lastRenewal: number): boolean {
    const record = this.records.get(host)
    if (!record || record.generation !== generation || record.lastRenewal !== lastRenewal) return false
    record.isFree = true
    return true
  }
}
