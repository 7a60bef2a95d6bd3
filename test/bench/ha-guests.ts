import { randomUUID } from 'node:crypto'
import type { Lab } from '../lab/lab.js'
import type { World } from '../lab/world.js'

/**
 * The lab's power cut lets the kernel close the connections of what it kills, and the others hear of that at once.
 * A host without power tells nobody: its cable goes first.
 */
export async function cutPower(lab: Lab, host: string): Promise<void> {
  await lab.link(host, 'down')
  await lab.off(host)
}

/** Highly available guests for benchmarks: 32 MiB, an empty disk and a lease each; they run their firmware. */
export class HaGuests {
  readonly #world: World
  readonly ids: string[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** Their names in libvirt. */
  get names(): string[] {
    return this.ids.map(id => `drover-${id}`)
  }

  async create(count: number): Promise<void> {
    const made = await Promise.all(Array.from({ length: count }, (_, at) => this.#createOne(`ha-${at}`)))
    this.ids.push(...made)
  }

  async #createOne(name: string): Promise<string> {
    const { api, services, ids } = this.#world
    const wanted = { name, storageDomainId: ids.storageDomain, capacity: String(64 * 2 ** 20) }
    const disk = await api.job(services.disk.CreateDisk, { disk: wanted }, undefined, 600)
    const vm = {
      ...{ name, clusterId: ids.cluster, vcpus: 1, memoryBytes: String(32 * 2 ** 20) },
      ha: { enabled: true, priority: 1, leaseStorageDomainId: ids.storageDomain },
      disks: [{ diskId: disk.objects['disk'] ?? '' }]
    }
    const job = await api.job(services.vm.CreateVm, { vm }, undefined, 600)
    return job.objects['vm'] ?? ''
  }

  /** After its power was cut: in service again, with all of them running there. */
  async bringBack(host: string): Promise<void> {
    const { lab } = this.#world
    if (!(await lab.isPowered(host))) await lab.on(host)
    await this.#world.whenUp(host, 180)
    await this.#world.whenStorageActive()
    await this.stop()
    await this.startOn(host)
  }

  /** What was told since a moment, in seconds after it. */
  async story(moment: number): Promise<string> {
    const { api, services } = this.#world
    const { events } = await api.ask(services.event.ListEvents, { pageSize: 1000 })
    const told = new Map<string, number[]>()
    for (const { kind, time } of events.toReversed()) {
      const at = Number(time?.seconds ?? 0) + (time?.nanos ?? 0) / 1e9 - moment / 1000
      if (at > 0) told.set(kind, [...(told.get(kind) ?? []), at])
    }
    return [...told]
      .map(([kind, times]) => `${kind} ${times[0]?.toFixed(1)}…${times.at(-1)?.toFixed(1)}`)
      .join(', ')
  }

  async startOn(host: string): Promise<void> {
    const { api, services, hostIds } = this.#world
    const hostId = hostIds.get(host) ?? ''
    await Promise.all(this.ids.map(vmId => api.job(services.vm.StartVm, { vmId, hostId }, undefined, 900)))
  }

  async stop(): Promise<void> {
    const { api, services } = this.#world
    await Promise.all(
      this.ids.map(vmId => api.job(services.vm.StopVm, { vmId, force: true }, undefined, 900))
    )
  }

  /** The cluster's policy as it comes, where the lab's is a hasty one. */
  async withDefaultPolicy(): Promise<void> {
    const { api, services, ids } = this.#world
    const cluster = await api.ask(services.cluster.GetCluster, { clusterId: ids.cluster })
    const ha = { fencingEnabled: true }
    await api.ask(services.cluster.UpdateCluster, {
      requestId: randomUUID(),
      cluster: { ...cluster, ha },
      updateMask: { paths: ['ha'] }
    })
  }
}
