import { once } from 'node:events'
import { createServer } from 'node:net'
import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { formatHostPort, parseHostPort } from '../common/address-rules.js'
import { seconds, type Seconds } from '../common/units.js'
import { absent } from '../libvirt/domain.js'
import type { AgentConfig } from './config.js'
import type { Disks } from './disks.js'
import type { IdentityFile } from './identity.js'
import type { VmRecord } from './vm-metadata.js'
import type { VmSpec } from './vm-spec.js'
import type { Vms } from './vms.js'

export type Arrival = { spec: VmSpec; generation: number; sourceHostId: string }
type Expected = Arrival & {
  address: string
  port: number
  since: Seconds
  end: AbortController
  hasArrived: boolean
}

type Parts = {
  vms: () => Vms
  disks: Disks
  identity: IdentityFile
  config: AgentConfig
  clock: Clock
  log: Logger
}

/** How long a migration may take to begin, and how long its tunnel stays after it is over. */
const patience = seconds(600)
const afterwards = seconds(60)

/** VMs that this host has been told to expect, each from one host and in one generation. */
export class Incoming {
  readonly #parts: Parts
  readonly #expected = new Map<string, Expected>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Disks, a port and a place; refused, not queued, when there are enough. Idempotent. */
  async prepare(arrival: Arrival, signal: AbortSignal): Promise<string> {
    const { vmId } = arrival.spec
    const { expected, isNew } = await this.#alone(() => this.#expect(arrival, signal))
    if (!isNew) return expected.address
    try {
      await crashpoint('vm.incoming.begun')
      await this.#parts.disks.prepare(arrival.spec, signal)
      await crashpoint('vm.incoming.prepared')
    } catch (error) {
      if (this.#expected.get(vmId) === expected) this.#expected.delete(vmId)
      throw error
    }
    return expected.address
  }

  /** A place and a port for it. One after the other: two that come at once must not get the same. */
  async #expect(arrival: Arrival, signal: AbortSignal): Promise<{ expected: Expected; isNew: boolean }> {
    const { spec, generation, sourceHostId } = arrival
    const known = this.#expected.get(spec.vmId)
    const isSame = known?.generation === generation && known.sourceHostId === sourceHostId
    if (known && isSame && !known.hasArrived) return { expected: known, isNew: false }
    // One that came and has left again comes anew: its disks were let go of when it left.
    const others = [...this.#expected.values()].filter(each => each !== known && !each.hasArrived)
    const { config, clock } = this.#parts
    if (others.length >= config.migrations_at_once) {
      throw new Fault('LIMIT', `${others.length} VMs are on their way to this host already`)
    }
    await this.#makeRoom(arrival, signal)
    known?.end.abort()
    const port = await this.#freePort()
    const address = formatHostPort({ host: this.#host(), port })
    const since = clock.monotonic()
    const expected = { ...arrival, address, port, since, end: new AbortController(), hasArrived: false }
    this.#expected.set(spec.vmId, expected)
    return { expected, isNew: true }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  /** Forgets an arrival and what was prepared for it, unless the VM is here. Idempotent. */
  async cancel(vmId: string, generation: number): Promise<void> {
    const expected = this.#expected.get(vmId)
    if (!expected || expected.generation !== generation) return
    expected.end.abort()
    this.#expected.delete(vmId)
    const vm = this.#parts.vms().find(vmId)
    if (vm && vm.state.status !== 'down') return
    await this.#parts.disks.tearDown(expected.spec)
  }

  /** What a libvirt domain that appears by migration is; null if nobody announced it. */
  record(vmId: string): VmRecord | null {
    const expected = this.#expected.get(vmId)
    if (!expected) return null
    const { spec, generation } = expected
    return {
      ...{ vmId, generation, spec, startedBy: '', phase: 'started', startedAt: this.#parts.clock.wall() },
      ...{ isPausedByUser: false, migration: null, exit: null }
    }
  }

  /** Only the announced host, for the announced VM and generation. The signal ends the tunnel. */
  admit(hostId: string, vmId: string, generation: number): AbortSignal {
    const expected = this.#expected.get(vmId)
    if (!expected || expected.generation !== generation || expected.sourceHostId !== hostId) {
      throw new Fault('PERMISSION_DENIED', `no migration of VM ${vmId} from host ${hostId} is expected here`)
    }
    return expected.end.signal
  }

  /** Where an announced VM comes from. */
  sourceOf(vmId: string): string | null {
    return this.#expected.get(vmId)?.sourceHostId ?? null
  }

  /** Whether a migration goes to this host. */
  isHere(hostId: string): boolean {
    return this.#parts.identity.now.hostId === hostId
  }

  arrived(vmId: string): void {
    const expected = this.#expected.get(vmId)
    if (!expected) return
    expected.hasArrived = true
    expected.since = this.#parts.clock.monotonic()
  }

  /** Tunnels of migrations that are over are closed; arrivals that never came are forgotten. */
  async round(): Promise<void> {
    const { clock, log, vms } = this.#parts
    for (const [vmId, { since, hasArrived, generation, end }] of this.#expected) {
      const age = clock.monotonic() - since
      if (hasArrived && age > afterwards) {
        end.abort()
        this.#expected.delete(vmId)
      } else if (!hasArrived && age > patience && vms().find(vmId)?.state.status !== 'migratingTo') {
        log.warn({ vm: vmId }, 'a VM that was announced did not come')
        await this.cancel(vmId, generation)
      }
    }
  }

  /** An earlier life of the VM may have left a record here. */
  async #makeRoom({ spec, generation }: Arrival, signal: AbortSignal): Promise<void> {
    const vms = this.#parts.vms()
    const vm = vms.find(spec.vmId)
    if (!vm) return
    const record = vm.own()
    if (record.generation > generation) {
      throw new Fault('STALE_GENERATION', `VM ${vm.id} is at generation ${record.generation} here`)
    }
    if (vm.state.status !== 'down')
      throw new Fault('WRONG_STATE', `VM ${vm.id} is ${vm.state.status} on this host`)
    // A migration that left takes the definition with it, and libvirt tells nobody.
    if (vm.isDefined) await vm.libvirtDomain.undefine(signal).catch(absent('NO_DOMAIN'))
    vms.forget(vm)
  }

  #host(): string {
    const { config, identity } = this.#parts
    if (config.migration_address !== '') return config.migration_address
    const enrolled = parseHostPort(identity.now.address)
    if (!enrolled) throw new Fault('NOT_ENROLLED', 'this host has no address; set migration_address')
    return enrolled.host
  }

  async #freePort(): Promise<number> {
    const { migration_first_port: first, migration_ports: count } = this.#parts.config
    const taken = new Set([...this.#expected.values()].map(({ port }) => port))
    for (let port = first; port < first + count; port++) {
      if (!taken.has(port) && (await isFree(port))) return port
    }
    throw new Fault('LIMIT', `no free port from ${first} on for a migration`)
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port)
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
