import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Delta__Output } from '../proto/generated/types/drover/agent/v1/Delta.js'
import type { Hello__Output } from '../proto/generated/types/drover/agent/v1/Hello.js'
import type { Occurrence__Output } from '../proto/generated/types/drover/agent/v1/Occurrence.js'
import type { WatchResponse__Output } from '../proto/generated/types/drover/agent/v1/WatchResponse.js'
import { generationOf } from './greeting.js'
import type { Measured } from './measured.js'
import {
  observeHost,
  observeOccurrence,
  observeStorageDomain,
  removeUnmentioned,
  unobserveStorageDomain
} from './observed-state.js'
import { noteTold, observeVm, unobserveVm, type Ghost } from './observed-vms.js'
import { addEvent } from './store/events.js'
import { hostOrNull, noteHost, type Host } from './store/hosts.js'
import type { Tx } from './store/query.js'
import { isFull, type Store } from './store/store.js'
import type { StaleStore } from './stale-store.js'
import type { TaskReports } from './task-reports.js'

export type SessionOptions = {
  hostId: string
  store: Store
  measured: Measured
  tasks: TaskReports
  stale: StaleStore
  clock: Clock
  log: Logger
  /** Whether a host is heard, and has told what it has. */
  isHeard(hostId: string): boolean
  onGhost(ghost: Ghost): void
  /** What was told is lost: the stream must begin anew from the last position. */
  onBroken(): void
}

type Item =
  | { kind: 'delta'; delta: Delta__Output }
  | { kind: 'snapshotEnd'; mentioned: ReadonlySet<string> }
  | { kind: 'caughtUp' }
  | { kind: 'heardAgain' }
  | { kind: 'occurrence'; occurrence: Occurrence__Output }

const gather = seconds(0.01)
/** Less than after which a host counts as silent: in a gap like this its VMs may have been given up. */
const gap = seconds(2.5)
const retry = seconds(1)
/** Beyond this a stream that cannot be written down is dropped, and later continued from its position. */
const mostWaiting = 10_000

/**
 * One watch stream of a host, from Hello to its end. What comes within a moment is written down in one
 * transaction, together with the position it brings the host to; while the store is full it waits.
 */
export class HostSession {
  readonly #options: SessionOptions
  #hello: Hello__Output | null = null
  #waiting: Item[] = []
  #sequence = 0
  #mentioned: Set<string> | null = null
  #isCaughtUp = false
  /** Whether the store has a position of this stream. Who drops it wants everything told anew. */
  #hasPosition = false
  #lastTake: Seconds | null = null
  /** What the host says of VMs and was not believed, by key: judged again with every heartbeat. */
  readonly #unbelieved = new Map<string, Delta__Output>()
  #cancel: (() => void) | null = null
  #isOver = false

  constructor(options: SessionOptions) {
    this.#options = options
  }

  get hello(): Hello__Output | null {
    return this.#hello
  }

  /** Whether it has told everything that the host has. */
  get isWhole(): boolean {
    return this.#hello !== null && this.#mentioned === null
  }

  begin(hello: Hello__Output, before: Host): void {
    const { store, clock, hostId, stale } = this.#options
    this.#hello = hello
    this.#sequence = hello.continues ? before.sequence : 0
    const generation = generationOf(before.generation, Number(hello.hostGeneration))
    this.#mentioned = hello.continues ? null : new Set()
    this.#hasPosition = hello.continues
    let isDropped = false
    if (generation > before.generation) stale.suspect(hostId)
    store.transaction(tx => {
      const { incarnation, bootId, agentVersion } = hello
      // Dropped while the host was being asked to continue from it.
      isDropped = hello.continues && hostOrNull(tx, hostId)?.incarnation === ''
      noteHost(tx, hostId, {
        ...{ bootId, agentVersion, lastSeen: clock.wall() },
        // Without a whole snapshot there is no position to continue from.
        ...(hello.continues && !isDropped ? { incarnation } : { incarnation: '', sequence: 0 }),
        ...(generation > before.generation && { generation })
      })
      if (generation > before.generation) {
        const text = `host ${before.name} knows generation ${generation} of itself and this store ${before.generation}: the store is older than the host`
        const objects = { host: hostId }
        addEvent(tx, { severity: 'alert', kind: 'host.generation_adopted', text, objects }, clock.wall())
      }
      if (before.bootId !== '' && before.bootId !== bootId) {
        const text = `host ${before.name} was booted anew`
        addEvent(
          tx,
          { severity: 'warning', kind: 'host.booted', text, objects: { host: hostId } },
          clock.wall()
        )
      }
    })
    if (isDropped) this.#options.onBroken()
  }

  take(message: WatchResponse__Output): void {
    const { measured, hostId, clock } = this.#options
    const now = clock.monotonic()
    if (this.#lastTake !== null && now - this.#lastTake > gap) this.#add({ kind: 'heardAgain' })
    this.#lastTake = now
    const delta = message.snapshot ?? message.delta
    if (delta) this.#takeDelta(delta)
    if (message.snapshotEnd) {
      if (this.#mentioned) this.#add({ kind: 'snapshotEnd', mentioned: this.#mentioned })
      this.#mentioned = null
      this.#sequence = Math.max(this.#sequence, Number(message.snapshotEnd.sequence))
    }
    if (message.occurrence) this.#add({ kind: 'occurrence', occurrence: message.occurrence })
    // All that the host had to say before it is here: these still are its latest words.
    if (message.heartbeat) {
      for (const delta of this.#unbelieved.values()) this.#add({ kind: 'delta', delta })
      if (!this.#isCaughtUp && this.isWhole) this.#add({ kind: 'caughtUp' })
      this.#isCaughtUp = this.isWhole
    }
    if (message.samples) measured.noteSamples(hostId, message.samples)
  }

  /** What came last is still written down, if it can be. */
  end(): void {
    this.#options.stale.noteSilent(this.#options.hostId)
    this.#cancel?.()
    if (this.#waiting.length > 0) this.#flush()
    this.#isOver = true
    this.#cancel?.()
  }

  #takeDelta(delta: Delta__Output): void {
    const { measured, hostId, tasks } = this.#options
    this.#mentioned?.add(delta.key)
    this.#unbelieved.delete(delta.key)
    this.#sequence = Math.max(this.#sequence, Number(delta.sequence))
    if (delta.vm) measured.noteVm(hostId, delta.vm.vmId, delta.vm.stats)
    if (delta.host) measured.noteHost(hostId, delta.host.stats)
    // Tasks belong to whoever waits for them; nothing of them is written here.
    if (delta.task) tasks.report(hostId, delta.task)
    this.#add({ kind: 'delta', delta })
  }

  #add(item: Item): void {
    this.#waiting.push(item)
    if (this.#waiting.length > mostWaiting) {
      this.#waiting = []
      this.#options.onBroken()
      return
    }
    this.#cancel ??= this.#options.clock.after(gather, () => this.#flush())
  }

  #flush(): void {
    const { store, clock, log, hostId, onGhost, onBroken } = this.#options
    this.#cancel = null
    if (this.#isOver) return
    const ghosts: Ghost[] = []
    let isDropped = false
    try {
      store.transaction(tx => {
        const known = hostOrNull(tx, hostId)
        if (!known) return
        isDropped = this.#hasPosition && known.incarnation === ''
        for (const item of this.#waiting) this.#applyOne(tx, known, item, ghosts)
        // A snapshot that is not whole yet is no position.
        if (this.#mentioned || isDropped) return
        const incarnation = this.#hello?.incarnation ?? ''
        noteHost(tx, hostId, { incarnation, sequence: this.#position(), lastSeen: clock.wall() })
      })
      this.#waiting = []
      this.#hasPosition ||= this.#mentioned === null
    } catch (error) {
      if (Fault.is(error, 'STORE_FULL')) {
        this.#cancel = clock.after(retry, () => this.#flush())
        return
      }
      // What cannot be written now will not be writable at once; the whole stream is asked for again.
      log.error({ err: error, host: hostId }, 'what a host told could not be written down')
      this.#waiting = []
      onBroken()
    }
    for (const ghost of ghosts) onGhost(ghost)
    if (isDropped) onBroken()
  }

  /** From where a later stream must go on: what was not believed is told again. */
  #position(): number {
    const waiting = [...this.#unbelieved.values()].map(({ sequence }) => Number(sequence) - 1)
    return Math.max(0, Math.min(this.#sequence, ...waiting))
  }

  /** One report that makes no sense must not keep the others from being heard. */
  #applyOne(tx: Tx, known: Host, item: Item, ghosts: Ghost[]): void {
    try {
      this.#apply(tx, known, item, ghosts)
    } catch (error) {
      if (isFull(error)) throw error
      this.#options.log.error(
        { err: error, host: known.id, item: item.kind },
        'a report of a host was skipped'
      )
    }
  }

  #apply(tx: Tx, known: Host, item: Item, ghosts: Ghost[]): void {
    const now = this.#options.clock.wall()
    const { id } = known
    const { stale } = this.#options
    switch (item.kind) {
      case 'snapshotEnd':
        return removeUnmentioned(tx, id, item.mentioned, stale, now)
      case 'heardAgain': // that it is written down shows whether the position was dropped
        return
      case 'caughtUp':
        return noteTold(tx, id, stale)
      case 'occurrence':
        return observeOccurrence(tx, id, item.occurrence, now)
      case 'delta': {
        const { key, removed, vm, storageDomain, host } = item.delta
        const objectId = key.slice(key.indexOf('/') + 1)
        if (removed && key.startsWith('vm/')) return unobserveVm(tx, id, objectId, stale, now)
        if (removed && key.startsWith('storageDomain/')) return unobserveStorageDomain(tx, id, objectId)
        if (host) observeHost(tx, known, host)
        if (storageDomain) observeStorageDomain(tx, id, storageDomain, now)
        if (!vm) return
        const heard = observeVm(tx, id, vm, { isHeard: this.#options.isHeard, stale }, now)
        if (heard.kind === 'ghost') ghosts.push(heard.ghost)
        if (heard.kind === 'unbelieved') this.#unbelieved.set(key, item.delta)
        else this.#unbelieved.delete(key)
      }
    }
  }
}
