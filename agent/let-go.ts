import { crashpoint } from '../common/crashpoint.js'
import { within } from '../common/deadline.js'
import type { RpcClient } from '../common/client.js'
import type { Clock } from '../common/clock.js'
import { seconds } from '../common/units.js'
import { agentServices } from '../proto/load.js'
import type { Migration } from './migration.js'
import type { ProcessUsage } from './process-usage.js'
import { hasEnded } from './qemu-process.js'
import type { TaskRun } from './tasks.js'

const unlimited = new AbortController().signal

/**
 * Tells the destination of a migration that the VM has left here, so that it goes on there. Who hears nothing asks.
 * The end of its QEMU says so first: libvirtd looks only every 200 ms whether a process that it ended is gone, and the
 * guest stands still until then.
 */
export class LetGo {
  readonly #destination: RpcClient
  readonly #migration: Migration
  readonly #log: TaskRun['log']
  #early: Promise<boolean> = Promise.resolve(false)

  constructor(destination: RpcClient, migration: Migration, log: TaskRun['log']) {
    this.#destination = destination
    this.#migration = migration
    this.#log = log
  }

  /** Until the signal: once this process has ended, whatever the reason, the VM can run nowhere but there. */
  onEndOf(process: ProcessUsage, clock: Clock, signal: AbortSignal): void {
    this.#early = hasEnded(process, clock, signal).then(isGone => isGone && this.#tell())
  }

  /** libvirt says that it left. */
  async now(): Promise<void> {
    if (!(await this.#early)) await this.#tell()
  }

  async #tell(): Promise<boolean> {
    const { taskId: requestId, vmId, generation } = this.#migration
    try {
      const request = { requestId, vmId, vmGeneration: String(generation) }
      await this.#destination.call(agentServices.peer.LetGoVm, request, within(seconds(20), unlimited))
      await crashpoint('vm.migrate.let_go')
      return true
    } catch (error) {
      this.#log.warn(
        { err: error, vm: vmId },
        'the destination was not told that the VM has left; it will ask'
      )
      return false
    }
  }
}
