import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { seconds } from '../common/units.js'
import type { Libvirt } from '../libvirt/connections.js'
import type { ListedDomain, Up } from '../libvirt/control-loop.js'
import { Domain } from '../libvirt/domain.js'
import type { LibvirtEvent } from '../libvirt/events.js'
import { adopt, learnFacts } from './adopt-vm.js'
import { driveNumber } from './cd-drives.js'
import type { Disks } from './disks.js'
import { pauseReasonOf } from './libvirt-facts.js'
import { Vm } from './vm.js'
import { exitOf, lost, type StopDetail } from './vm-exit.js'
import type { VmRecord } from './vm-metadata.js'
import { writeRecordIfThere } from './vm-records.js'
import { isRunning, type PauseReason } from './vm-status.js'

export type VmsOptions = {
  libvirt: () => Libvirt
  disks: Disks
  clock: Clock
  log: Logger
  /** What a VM that arrives by migration is, if one is expected; and that it is here. */
  incoming: {
    record(vmId: string): VmRecord | null
    arrived(vmId: string): void
    isHere(hostId: string): boolean
  }
  /** A VM has arrived, and stands still until it is let go. */
  onHeld: (vm: Vm) => void
  /** A VM that was leaving when the agent ended: somebody has to see where it went. */
  onLeaving: (vm: Vm) => void
  onChange: (id: string, vm: Vm | null) => void
  /** For people: what happened to whom. */
  note: (vmId: string, what: string, text: string) => void
}

const noSignal = new AbortController().signal
type Event<K extends LibvirtEvent['kind']> = Extract<LibvirtEvent, { kind: K }>

/** All VMs of this host, kept as libvirt says they are: by its events, and by its list after every connect. */
export class Vms {
  readonly options: VmsOptions
  readonly #vms = new Map<string, Vm>()
  /** Domains whose SHUTDOWN event said that the host's side ended them. */
  readonly #endedByHost = new Set<string>()

  constructor(options: VmsOptions) {
    this.options = options
  }

  find(id: string): Vm | null {
    return this.#vms.get(id) ?? null
  }

  get(id: string): Vm {
    const vm = this.find(id)
    if (!vm) throw new Fault('VM_NOT_FOUND', `VM ${id} is not on this host`, { facts: { vm: id } })
    return vm
  }

  /** By id. */
  list(): Vm[] {
    return [...this.#vms.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }

  running(): Vm[] {
    return this.list().filter(({ state, foreign }) => foreign === null && isRunning(state))
  }

  add(id: string, name: string, record: VmRecord | null): Vm {
    const { libvirt, clock, onChange } = this.options
    const vm = new Vm({
      ...{ domain: new Domain(libvirt(), id), clock, name, record },
      onChange: changed => {
        if (this.#vms.get(id) === changed) onChange(id, changed)
      }
    })
    this.#vms.set(id, vm)
    return vm
  }

  forget(vm: Vm): void {
    if (this.#vms.get(vm.id) !== vm) return
    this.#vms.delete(vm.id)
    this.options.onChange(vm.id, null)
  }

  /** After each connect: the list is the truth, whatever was remembered. */
  async onUp({ domains }: Up): Promise<void> {
    await Promise.all(domains.map(listed => this.#adoptQuietly(listed)))
    const present = new Set(domains.map(({ uuid }) => uuid))
    for (const vm of this.list()) {
      if (!present.has(vm.id)) this.#disappeared(vm)
      else if (this.#isLeaving(vm)) this.options.onLeaving(vm)
    }
  }

  #isLeaving({ record, lane }: Vm): boolean {
    if (!record?.migration || lane.running !== null) return false
    return !this.options.incoming.isHere(record.migration.destinationHostId)
  }

  onEvent(event: LibvirtEvent): void {
    const vm = this.find(event.uuid)
    if (!vm) return this.#onStranger(event)
    switch (event.kind) {
      case 'lifecycle':
        return this.#onLifecycle(vm, event)
      case 'ioError':
        if (event.action !== 'pause') return
        vm.ioError = event.noSpace ? 'enospc' : 'eio'
        this.options.note(vm.id, `vm.paused.${vm.ioError}`, `I/O error on ${event.alias}`)
        return vm.apply({ kind: 'paused', why: vm.ioError })
      case 'reboot':
        this.options.note(vm.id, 'vm.rebooted', 'the guest rebooted')
        return vm.apply({ kind: 'rebooted' })
      case 'trayChange': {
        const number = driveNumber(event.alias)
        if (number === null) return
        if (event.tray === 'open') vm.openTrays.add(number)
        else vm.openTrays.delete(number)
        return vm.changed()
      }
      case 'agentLifecycle':
        vm.isGuestAgentConnected = event.state === 'connected'
        return
      case 'controlError':
        vm.isUnresponsive = true
        return vm.changed()
      default:
        return
    }
  }

  /** Guests whose QEMU owes an answer for too long. */
  markUnresponsive(ids: Set<string>): void {
    for (const vm of this.list()) {
      if (vm.isUnresponsive === ids.has(vm.id)) continue
      vm.isUnresponsive = ids.has(vm.id)
      vm.changed()
    }
  }

  #onLifecycle(vm: Vm, event: Event<'lifecycle'>): void {
    switch (event.change) {
      case 'started':
        return vm.apply({ kind: event.detail === 'migrated' ? 'arriving' : 'launched' })
      case 'resumed':
        if (vm.state.status === 'migratingTo') return this.#arrived(vm)
        if (event.detail === 'migrated' || event.detail === 'postcopy') return this.#arrived(vm)
        vm.ioError = null
        return vm.apply({ kind: 'resumed' })
      case 'suspended': {
        if (event.detail === 'migrated') return
        // Every VM arrives paused.
        if (vm.state.status === 'migratingTo') return this.options.onHeld(vm)
        const isPausedByUser = vm.record?.isPausedByUser ?? true
        return vm.apply({
          kind: 'paused',
          why: pauseReasonOf(event.detail, { isPausedByUser, ioError: vm.ioError })
        })
      }
      case 'shutdown':
        if (event.detail === 'host') this.#endedByHost.add(vm.id)
        return
      case 'stopped':
        return this.#stopped(vm, event.detail)
      case 'defined':
        vm.isDefined = true
        return
      case 'undefined':
        vm.isDefined = false
        if (vm.foreign && !isRunning(vm.state)) this.forget(vm)
        return
      case 'crashed':
        return this.options.note(vm.id, 'vm.guest_panicked', 'the guest panicked')
      default:
        return
    }
  }

  /** A domain seen for the first time: one that somebody else made, or one that migrates to us. */
  #onStranger(event: LibvirtEvent): void {
    if (event.kind !== 'lifecycle' || !['started', 'defined', 'resumed'].includes(event.change)) return
    const expected = this.options.incoming.record(event.uuid)
    if (expected) {
      const vm = this.add(event.uuid, expected.spec.name, expected)
      vm.apply({ kind: 'arriving' })
      return this.onEvent(event)
    }
    const isPersistent = event.change === 'defined'
    void this.#adoptQuietly({ uuid: event.uuid, name: event.name, state: null, isPersistent })
  }

  /** It is this host's from now on, and does not run: as at its source, or because nobody says that it may. */
  arrivedPaused(vm: Vm, why: PauseReason): void {
    this.#arrived(vm)
    vm.apply({ kind: 'paused', why })
  }

  /** The memory is here and the CPUs run: from now on this host answers for the VM. */
  #arrived(vm: Vm): void {
    vm.apply({ kind: 'arrived' })
    this.options.incoming.arrived(vm.id)
    if (!vm.record) return
    const change = { migration: null, exit: null, phase: 'started' as const }
    vm.record = { ...vm.record, ...change }
    this.options.note(vm.id, 'vm.arrived', 'migrated to this host')
    void this.#quietly(vm, 'after arrival', async () => {
      // What the source wrote of it came with it, and is more than what was announced.
      await learnFacts(vm, noSignal)
      await writeRecordIfThere(vm, change, noSignal)
      await adopt(this, { uuid: vm.id, name: vm.name, state: null, isPersistent: vm.isDefined }, noSignal)
    })
  }

  #stopped(vm: Vm, detail: StopDetail): void {
    const { clock } = this.options
    // A migration that failed before the VM was ours: the source has it still.
    if (vm.state.status === 'migratingTo') return this.forget(vm)
    const byHostSignal = this.#endedByHost.delete(vm.id)
    const exit = exitOf(detail, { asked: vm.asked, byHostSignal, at: clock.wall() })
    this.#down(vm, { exit, migration: null, isPausedByUser: false })
  }

  #disappeared(vm: Vm): void {
    if (vm.foreign) return this.forget(vm)
    if (vm.state.status === 'down' || vm.lane.running !== null) return
    vm.isDefined = false
    this.#down(vm, { exit: lost(this.options.clock.wall(), 'the VM is not on this host any more') })
  }

  #down(vm: Vm, change: Partial<VmRecord>): void {
    if (vm.record) vm.record = { ...vm.record, ...change }
    vm.isUnresponsive = false
    vm.isGuestAgentConnected = false
    vm.vncSocket = ''
    vm.openTrays.clear()
    // Who left says where to: a coordinator that was restored does not know.
    if (change.exit?.reason !== 'migrated') vm.migration = null
    vm.apply({ kind: 'stopped' })
    if (vm.foreign) {
      void this.#quietly(vm, 'look again', async () => {
        if ((await vm.libvirtDomain.stateIfPresent(noSignal)) === null) this.forget(vm)
      })
    } else if (vm.asked !== 'destroy' && vm.lane.running !== 'start') this.cleanUp(vm, change)
  }

  /** Whoever destroys a VM cleans up himself; after every other end it is done here, behind running verbs. */
  cleanUp(vm: Vm, change: Partial<VmRecord>): void {
    void this.#quietly(vm, 'clean up', () => {
      return vm.lane.run(
        'clean up',
        async () => {
          if (this.find(vm.id) !== vm || vm.state.status !== 'down') return
          await this.options.disks.tearDown(vm.own().spec)
          await writeRecordIfThere(vm, change, AbortSignal.timeout(30_000))
        },
        noSignal
      )
    })
  }

  /** One domain that cannot be read stops nobody. */
  async #adoptQuietly(
    listed: Omit<ListedDomain, 'state'> & { state: ListedDomain['state'] | null }
  ): Promise<void> {
    try {
      await adopt(this, listed, AbortSignal.timeout(60_000))
    } catch (error) {
      this.options.log.warn({ err: error, vm: listed.uuid }, 'libvirt domain not adopted')
      this.#adoptLater(listed)
    }
  }

  /** It is there and nobody could read it yet: shown as that, never as a VM that does not run. */
  #adoptLater(listed: Omit<ListedDomain, 'state'>): void {
    const vm = this.find(listed.uuid)
    if (!vm || vm.record) return
    vm.foreign = { kind: 'quarantined', why: 'libvirt has not said yet what it is' }
    vm.changed()
    this.options.clock.after(seconds(10), () => {
      if (this.find(listed.uuid) === vm && !vm.record) void this.#adoptQuietly({ ...listed, state: null })
    })
  }

  async #quietly(vm: Vm, what: string, work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) =>
      this.options.log.warn({ err: error, vm: vm.id, what }, 'VM not tidied')
    )
  }
}
