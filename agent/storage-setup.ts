import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { BlockStorage } from '../storage/connections/block-storage.js'
import { ovirtOwner } from '../storage/files.js'
import { Sanlock, type SanlockSettings } from '../storage/sanlock.js'
import { DataPrograms } from './data-programs.js'
import { ImageTasks } from './image-tasks.js'
import { LeaseTasks } from './lease-tasks.js'
import type { StorageDomainState } from './storage-state.js'
import { Storage } from './storage.js'
import { StorageConnections } from './storage-connections.js'
import { StorageWorkers } from './storage-workers.js'

export type StorageSetup = {
  stateDirectory: string
  runDirectory: string
  importDirectory: string | null
  allowedDirectories: readonly string[]
  logLevel: string
  sanlock: SanlockSettings
  /** What a new thin volume on block storage begins with; absent: what oVirt gives it. */
  thinInitialMib?: number
  run: Run
  clock: Clock
  log: Logger
  onChange(storageDomainId: string, state: StorageDomainState | null): void
  /** This host's number in lockspaces; 0 while no coordinator gave it one. */
  sanlockHostId?: () => number
  /** Something here waits for the manager's lease, and another host has that. */
  onManagerWanted?: (storageDomainId: string) => void
}

/** The parts of an agent that deal with storage, put together. */
export function setUpStorage(setup: StorageSetup) {
  const { stateDirectory, runDirectory, run, clock, log } = setup
  const block = new BlockStorage({ run, clock, log })
  const connections = new StorageConnections({
    file: `${stateDirectory}/attached.json`,
    mountDirectory: `${runDirectory}/mnt`,
    allowedDirectories: setup.allowedDirectories,
    block,
    run,
    log
  })
  const workers = new StorageWorkers({
    settings: {
      runDirectory,
      importDirectory: setup.importDirectory,
      uploadDirectory: `${stateDirectory}/uploads`,
      ...(setup.thinInitialMib !== undefined && { thinInitialMib: setup.thinInitialMib }),
      owner: process.getuid?.() === 0 ? ovirtOwner : null,
      sanlock: setup.sanlock,
      logLevel: setup.logLevel
    },
    clock,
    log,
    onReport: (id, report) => storage.onReport(id, report),
    onRestart: id => storage.onRestart(id),
    onManagerWanted: id => setup.onManagerWanted?.(id)
  })
  const storage: Storage = new Storage({
    workers,
    connections,
    block,
    runDirectory,
    clock,
    log,
    onChange: setup.onChange,
    ...(setup.sanlockHostId && { sanlockHostId: setup.sanlockHostId })
  })
  const programs = new DataPrograms({ directory: `${runDirectory}/tasks`, run, clock, log })
  const images = new ImageTasks(storage, programs, run)
  const leases = new LeaseTasks(storage, new Sanlock(setup.sanlock, run, clock))
  return { storage, images, leases, programs, workers, block }
}
