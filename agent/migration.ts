import { crashpoint } from '../common/crashpoint.js'
import { sleep, type Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { MiB, seconds } from '../common/units.js'
import { isVirError } from '../libvirt/errors.js'
import type { JobStats } from '../libvirt/job-stats.js'
import { abortJob, jobStats, migrate, setMaxDowntime, type MigrationSpec } from '../libvirt/migration.js'
import { parseHostPort } from '../common/address-rules.js'
import { isIP } from 'node:net'
import { agentServices } from '../proto/load.js'
import type { TunnelData } from '../proto/generated/types/drover/agent/v1/TunnelData.js'
import { adopt } from './adopt-vm.js'
import { beginConvergence, converge, type Convergence } from './convergence.js'
import type { IdentityFile } from './identity.js'
import { LetGo } from './let-go.js'
import { openTunnel, type Pipe } from './migration-tunnel.js'
import type { Peers } from './peers.js'
import { qemuProcess } from './qemu-process.js'
import type { VmWorld } from './start-vm.js'
import { meant } from './stop-vm.js'
import type { TaskRun } from './tasks.js'
import type { MigrationView, Vm } from './vm.js'
import { writeRecord, writeRecordIfThere } from './vm-records.js'

export type MigrationWorld = VmWorld & { identity: IdentityFile; peers: Peers; clock: Clock }

export type Migration = {
  taskId: string
  vmId: string
  generation: number
  destinationHostId: string
  migrationAddress: string
  /** Bytes per second; null is no limit. */
  bandwidth: number | null
  downtimeMs: number
}

const lookEvery = seconds(0.5)
const unlimited = new AbortController().signal

/** Moves a running VM to another host. Who has it afterwards is told by libvirt's events, not by its reply. */
export async function migrateVm(
  world: MigrationWorld,
  migration: Migration,
  run: TaskRun
): Promise<Record<string, string>> {
  const { vmId, generation, destinationHostId } = migration
  throwIfNowhere(world, migration)
  const vm = meant(world, { vmId, generation })
  // Asked again after the agent died in the middle: it is over there already.
  if (vm.exit?.reason === 'migrated') return {}
  if (vm.state.status !== 'migratingFrom') vm.throwUnlessAllowed('migrate')
  await vm.lane.run('migrate', () => inLane(world, vm, migration, run), run.signal)
  // Behind the lane, so that libvirt's word about the state counts again.
  if (vm.state.status !== 'down') {
    const listed = { uuid: vm.id, name: vm.name, state: null, isPersistent: true }
    await adopt(world.vms, listed, unlimited)
    throw new Fault('WRONG_STATE', `VM ${vmId} did not leave for host ${destinationHostId}`)
  }
  return { downtime_ms: String(vm.migration?.expectedDowntimeMs ?? 0) }
}

function throwIfNowhere({ identity, peers }: MigrationWorld, { destinationHostId }: Migration): void {
  if (destinationHostId === identity.now.hostId) {
    throw new Fault('INVALID_REQUEST', 'a VM cannot migrate to the host it runs on', {
      violations: [{ field: 'destination_host_id', description: 'must be another host' }]
    })
  }
  peers.hostName(destinationHostId)
}

async function inLane(world: MigrationWorld, vm: Vm, migration: Migration, run: TaskRun): Promise<void> {
  await untilNoJob(world, vm, run.signal)
  if (vm.state.status === 'down') return
  const { taskId, destinationHostId, downtimeMs } = migration
  const sourceHostId = world.identity.enrolled().hostId
  const began = { taskId, sourceHostId, destinationHostId, began: world.now(), downtimeMs, raises: 0 }
  await writeRecord(vm, { migration: began }, run.signal)
  await crashpoint('vm.migrate.recorded')
  vm.migration = { ...nothingYet, destinationHostId }
  vm.apply({ kind: 'leaving' })
  const over = new AbortController()
  try {
    await using _tunnel = await openTunnel(socketPath(world, vm), pipeTo(world, migration), run.log)
    using destination = world.peers.connect(destinationHostId)
    destination.connect()
    using process = await qemuProcess(world.config.libvirt_socket, vm.id)
    await crashpoint('vm.migrate.tunnel')
    const letGo = new LetGo(destination, migration, run.log)
    if (process !== null) letGo.onEndOf(process, world.clock, over.signal)
    const watched = watch(world, vm, migration, run, over.signal)
    try {
      await migrate(vm.libvirtDomain, migrationSpec(world, vm, migration), unlimited)
    } finally {
      over.abort()
      await watched
    }
    await crashpoint('vm.migrate.done')
    // The event that says so is usually here before the reply.
    await vm.until(({ state }) => state.status === 'down', seconds(10), unlimited)
    await letGo.now()
  } catch (error) {
    await settle(world, vm, error, run)
  }
}

/** The call failed. Perhaps the VM went all the same; if not, it is ours as before. */
async function settle(world: MigrationWorld, vm: Vm, error: unknown, run: TaskRun): Promise<void> {
  if (vm.exit?.reason === 'migrated') return
  const state = await vm.libvirtDomain.stateIfPresent(unlimited)
  if (state === null && (await vm.until(({ exit }) => exit?.reason === 'migrated', seconds(5), unlimited)))
    return
  vm.migration = null
  if (state !== null) await writeRecordIfThere(vm, { migration: null }, unlimited)
  vm.apply({ kind: 'stayed' })
  world.vms.options.note(vm.id, 'vm.migration_failed', 'stays on this host')
  if (run.signal.aborted || isVirError(error, 'OPERATION_ABORTED')) {
    throw new Fault('CANCELLED', `the migration of VM ${vm.id} was cancelled`, { cause: error })
  }
  if (isVirError(error, 'CPU_INCOMPATIBLE')) {
    throw new Fault('WRONG_STATE', `the destination cannot offer the CPU of VM ${vm.id}`, { cause: error })
  }
  // libvirt's failure is this request's answer: it is not tried again by itself.
  if (error instanceof Fault && error.facts['libvirtError'] !== undefined) {
    throw new Fault('LIBVIRT_FAILED', error.message, { cause: error, facts: error.facts })
  }
  throw error
}

function migrationSpec({ config, peers }: MigrationWorld, vm: Vm, migration: Migration): MigrationSpec {
  const { destinationHostId, migrationAddress, bandwidth } = migration
  const { host } = parseHostPort(migrationAddress) ?? { host: '' }
  return {
    destinationUri: `qemu+unix:///system?socket=${socketPath({ config }, vm)}`,
    migrateUri: `tcp://${migrationAddress}`,
    listenAddress: isIP(host) !== 0 ? host : null,
    movesDefinition: vm.isDefined,
    arrivesPaused: true,
    unsafe: config.unsafe_shared_filesystem,
    tls: config.migration_tls ? { destinationName: peers.hostName(destinationHostId) } : null,
    bandwidthMiBs: bandwidth === null ? null : Math.max(1, Math.floor(bandwidth / MiB(1))),
    autoConverge: { initial: 20, increment: 10 }
  }
}

const socketPath = ({ config }: Pick<MigrationWorld, 'config'>, { id }: Vm) =>
  `${config.run_directory}/migration/${id}.sock`

/** One connection of libvirtd, over a call of its own to the destination's agent. */
function pipeTo({ peers }: MigrationWorld, { vmId, generation, destinationHostId }: Migration): Pipe {
  return async function* (fromUs, signal) {
    using client = peers.connect(destinationHostId)
    const messages = async function* (): AsyncGenerator<TunnelData> {
      yield { open: { vmId, vmGeneration: String(generation) } }
      for await (const data of fromUs) yield { data }
    }
    for await (const { data } of client.bidi(agentServices.peer.MigrationTunnel, messages(), signal)) {
      if (data) yield data
    }
  }
}

/** Shows how far it is, lets it converge, and ends it when somebody asks. */
async function watch(
  { clock }: MigrationWorld,
  vm: Vm,
  { destinationHostId, downtimeMs }: Migration,
  { signal, progress, log }: TaskRun,
  over: AbortSignal
): Promise<void> {
  let convergence: Convergence | null = null
  let isAborted = false
  while (!over.aborted) {
    await sleep(clock, lookEvery, over).catch(() => {})
    if (over.aborted) return
    try {
      if (signal.aborted && !isAborted) {
        await abortJob(vm.libvirtDomain, over)
        isAborted = true
      }
      const stats = await jobStats(vm.libvirtDomain, over)
      if (!stats || stats.operation !== 'migration_out') continue
      const view = viewOf(stats, destinationHostId)
      vm.migration = view
      vm.changed()
      progress({
        percent: view.percent,
        doneBytes: view.doneBytes,
        totalBytes: view.totalBytes,
        phase: 'migrating'
      })
      if (convergence === null) {
        await setMaxDowntime(vm.libvirtDomain, downtimeMs, over)
        convergence = beginConvergence(view.iterations, downtimeMs)
      }
      const step = converge(convergence, { iteration: view.iterations, remaining: stats.memory.remaining })
      convergence = step.state
      if (step.downtimeMs !== null) {
        log.info({ vm: vm.id, downtimeMs: step.downtimeMs }, 'downtime raised')
        await setMaxDowntime(vm.libvirtDomain, step.downtimeMs, over)
      }
    } catch (error) {
      if (!over.aborted) log.debug({ err: error, vm: vm.id }, 'migration not looked at')
    }
  }
}

const nothingYet: Omit<MigrationView, 'destinationHostId'> = {
  ...{ percent: 0, doneBytes: 0, totalBytes: 0, iterations: 0, expectedDowntimeMs: 0, bytesPerSecond: 0 }
}

export function viewOf(stats: JobStats, destinationHostId: string): MigrationView {
  const { processed, remaining, total } = stats.memory
  const percent = total > 0 ? Math.max(0, Math.min(99, Math.floor((100 * (total - remaining)) / total))) : 0
  return {
    ...{ destinationHostId, percent, doneBytes: processed, totalBytes: total },
    iterations: stats.iteration ?? 0,
    expectedDowntimeMs: stats.downtimeMs ?? 0,
    bytesPerSecond: stats.memoryBytesPerSecond ?? 0
  }
}

/** A job that an earlier life of the agent began. Its tunnel died with that life, so it ends by itself. */
async function untilNoJob({ clock }: MigrationWorld, vm: Vm, signal: AbortSignal): Promise<void> {
  if (!vm.record?.migration) return
  while (vm.state.status !== 'down') {
    const state = await vm.libvirtDomain.stateIfPresent(signal)
    if (state === null) await vm.until(({ state }) => state.status === 'down', seconds(5), signal)
    if (state === null || (await jobStats(vm.libvirtDomain, signal)) === null) return
    await sleep(clock, lookEvery, signal)
  }
}

/** After a restart: follows what an earlier life began until it is over, and says then where the VM is. */
export async function followMigration(world: MigrationWorld, vm: Vm, signal: AbortSignal): Promise<void> {
  await vm.lane.run(
    'follow migration',
    async () => {
      await untilNoJob(world, vm, signal)
      if (vm.state.status === 'down' || !vm.record?.migration) return
      vm.migration = null
      await writeRecordIfThere(vm, { migration: null }, signal)
      vm.apply({ kind: 'stayed' })
    },
    signal
  )
  if (vm.state.status === 'down') return
  await adopt(world.vms, { uuid: vm.id, name: vm.name, state: null, isPersistent: vm.isDefined }, signal)
}
