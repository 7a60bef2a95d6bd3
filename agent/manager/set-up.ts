import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import type { Seconds } from '../../common/units.js'
import type { IdentityFile } from '../identity.js'
import type { Storage } from '../storage.js'
import { Role, type RoleParts } from './role.js'

type Parts = {
  storage: Storage
  identity: IdentityFile
  /** Asks another host for the lease, over the network. */
  handOver: RoleParts['askFor']
  onChange: RoleParts['onChange']
  /** A manager that nobody asks for so long lets others have their turn. */
  idle: Seconds
  clock: Clock
  log: Logger
}

/** This host as a manager of storage domains, for the coordinator and for its own workers. */
export type ManagerVerbs = {
  prefer(storageDomainId: string, isPreferred: boolean): void
  /** A worker here waits for the lease that another host has. */
  onWanted(storageDomainId: string): void
}

/** The role with everything that it needs of this host. */
export function setUpManager(parts: Parts, signal: AbortSignal): { role: Role; verbs: ManagerVerbs } {
  const { log } = parts
  const role = new Role(roleParts(parts))
  const verbs: ManagerVerbs = {
    prefer: (id, isPreferred) => role.prefer(id, isPreferred, signal),
    onWanted: id => {
      void role.wantForOperation(id, signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error, storageDomain: id }, 'the manager could not be asked')
      })
    }
  }
  return { role, verbs }
}

function roleParts({ storage, identity, idle, handOver, onChange, clock, log }: Parts): RoleParts {
  return {
    worker: {
      state: async (id, end) => {
        const { isManager, owner } = await storage.askActive(id, 'managerState', {}, end)
        return { isManager, owner: owner?.sanlockHostId ?? null }
      },
      take: async (id, within, end) => void (await storage.askActive(id, 'takeManager', { within }, end)),
      giveUp: async (id, end) => void (await storage.askActive(id, 'giveUpManager', {}, end)),
      handOver: async (id, end) => (await storage.askActive(id, 'handOverManager', {}, end)).isFree,
      extend: async (id, volumeId, to, end) => {
        const volumes = [{ volumeId, to }]
        const [extended] = await storage.askActive(id, 'extendVolumes', { volumes }, end)
        if (!extended) throw new Fault('VOLUME_NOT_FOUND', `no volume ${volumeId} in storage domain ${id}`)
        return extended
      }
    },
    askFor: handOver,
    hostIdOf: number => identity.hostIdOf(number),
    onChange,
    ownSanlockHostId: () => identity.now.sanlockHostId,
    isUsable: id => {
      const health = storage.find(id)?.health ?? 'inactive'
      return health === 'inactive' ? null : health === 'active'
    },
    stands: id => storage.find(id)?.report?.isManager ?? false,
    ...{ idle, clock, log }
  }
}
