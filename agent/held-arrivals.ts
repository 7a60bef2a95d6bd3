import type { Clock } from '../common/clock.js'
import { sleep } from '../common/clock.js'
import { crashpoint } from '../common/crashpoint.js'
import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { seconds } from '../common/units.js'
import { agentServices } from '../proto/load.js'
import { learnFacts } from './adopt-vm.js'
import type { Incoming } from './incoming.js'
import type { Peers } from './peers.js'
import type { Vm } from './vm.js'
import type { Vms } from './vms.js'

/*
 * A VM that migrates here arrives with its CPUs stopped, and goes on when its source says that it has left there.
 * libvirt alone starts it before that: if its last answer is lost, the source starts it again too.
 *
 *   source: its QEMU has ended   ── LetGoVm ──► destination: resume            the usual way, milliseconds
 *   source: ◄── AskWhetherVmLeft ── destination: resume, or throw its copy away  when nothing was heard
 */

type Parts = {
  vms: () => Vms
  incoming: Incoming
  peers: Peers
  clock: Clock
  log: Logger
}

/** What the source says of a VM and a generation of it. */
export type Departure = 'left' | 'stayed' | 'undecided'

const unasked = seconds(2)
const betweenQuestions = seconds(1)
/** Then a person sees a paused VM. */
const patience = seconds(120)

export class HeldArrivals {
  readonly #parts: Parts
  readonly #held = new Set<Vm>()
  readonly #end: AbortSignal

  constructor(parts: Parts, end: AbortSignal) {
    this.#parts = parts
    this.#end = end
  }

  /** All of it is here, and stands still. */
  hold(vm: Vm): void {
    if (this.#held.has(vm)) return
    this.#held.add(vm)
    vm.changed()
    this.#untilDecided(vm)
      .catch((error: unknown) => {
        if (this.#end.aborted) return
        this.#parts.log.error({ err: error, vm: vm.id }, 'a VM that arrived was not let go')
      })
      .finally(() => this.#held.delete(vm))
  }

  /** The source has let go of it. Returns when it runs here, or is paused as it was there. */
  async letGo(hostId: string, vmId: string, generation: number, signal: AbortSignal): Promise<void> {
    const vm = this.#parts.vms().get(vmId)
    const isHere = () => this.#held.has(vm) || isOver(vm)
    const hasArrived = await vm.until(isHere, seconds(10), signal)
    if (isOver(vm)) return
    // Its source may have broken down in the middle: a part of a VM is never let go.
    if (!hasArrived) throw new Fault('WRONG_STATE', `VM ${vmId} has not arrived`)
    await learnFacts(vm, signal)
    const isItsSource = this.#sourceOf(vm) === hostId && vm.own().generation === generation
    if (!isItsSource) throw new Fault('PERMISSION_DENIED', `VM ${vmId} did not come from host ${hostId}`)
    await this.#release(vm, signal)
  }

  async #untilDecided(vm: Vm): Promise<void> {
    const { clock, log } = this.#parts
    const begun = clock.monotonic()
    if (await vm.until(isOver, unasked, this.#end)) return
    await learnFacts(vm, this.#end)
    while (!isOver(vm) && clock.monotonic() - begun < patience) {
      const departure = await this.#ask(vm)
      if (isOver(vm)) return
      if (departure === 'left') return this.#release(vm, this.#end)
      if (departure === 'stayed') return this.#discard(vm)
      await sleep(clock, betweenQuestions, this.#end)
    }
    if (isOver(vm)) return
    log.warn({ vm: vm.id }, 'nobody says whether the VM has left its source; it stays paused')
    this.#parts.vms().arrivedPaused(vm, 'other')
  }

  async #ask(vm: Vm): Promise<Departure> {
    const sourceHostId = this.#sourceOf(vm)
    if (sourceHostId === null) return 'undecided'
    try {
      using client = this.#parts.peers.connect(sourceHostId)
      const question = { vmId: vm.id, vmGeneration: String(vm.own().generation) }
      const signal = within(seconds(30), this.#end)
      const { departure } = await client.call(agentServices.peer.AskWhetherVmLeft, question, signal)
      if (departure === 'DEPARTURE_LEFT') return 'left'
      return departure === 'DEPARTURE_STAYED' ? 'stayed' : 'undecided'
    } catch (error) {
      this.#parts.log.info({ err: error, vm: vm.id }, 'the source of a VM did not answer')
      return 'undecided'
    }
  }

  async #release(vm: Vm, signal: AbortSignal): Promise<void> {
    if (vm.own().isPausedByUser) return this.#parts.vms().arrivedPaused(vm, 'user')
    await crashpoint('vm.arrival.held')
    await vm.libvirtDomain.resume(signal)
    await crashpoint('vm.arrival.released')
    await vm.until(isOver, seconds(10), signal)
  }

  /** It never ran here, so nothing is lost. */
  async #discard(vm: Vm): Promise<void> {
    const { log, vms, incoming } = this.#parts
    log.info({ vm: vm.id }, 'the VM stayed at its source; its copy here is thrown away')
    // In this order: an agent that dies in between finds it paused, as before, and asks again.
    if (await vm.libvirtDomain.isPersistent(this.#end)) await vm.libvirtDomain.undefine(this.#end)
    await vm.libvirtDomain.destroy(this.#end)
    await incoming.cancel(vm.id, vm.own().generation)
    vms().forget(vm)
  }

  #sourceOf(vm: Vm): string | null {
    return vm.record?.migration?.sourceHostId ?? this.#parts.incoming.sourceOf(vm.id)
  }
}

const isOver = ({ state }: Vm) => state.status !== 'migratingTo'

/** The source's side: waits a while for a migration that is under way. */
export async function departureOf(
  vms: Vms,
  isRecovering: boolean,
  { vmId, generation }: { vmId: string; generation: number },
  signal: AbortSignal
): Promise<Departure> {
  if (isRecovering) return 'undecided'
  const vm = vms.find(vmId)
  // A migration that succeeds takes the definition with it.
  if (!vm) return 'left'
  if (vm.foreign || vm.own().generation > generation) return 'stayed'
  const isSettled = () => vm.lane.running !== 'migrate' && vm.state.status !== 'migratingFrom'
  if (!(await vm.until(isSettled, seconds(20), signal))) return 'undecided'
  if (vm.state.status !== 'down') return 'stayed'
  return vm.exit?.reason === 'migrated' ? 'left' : 'stayed'
}
