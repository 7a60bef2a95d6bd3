import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { CoordinatorServiceDefinition } from '../../proto/generated/types/drover/v1/CoordinatorService.js'
import { writeBackup } from '../backup.js'
import type { StaleStore } from '../stale-store.js'
import { addEvent } from '../store/events.js'
import { wireTime } from '../wire.js'
import type { Mutations } from './mutation.js'

export type About = {
  installationId: string
  dataCenterId: string
  version: string
  epoch(): number
  incarnation: string
  started: number
  fingerprint: string
  backupFolder: string
}

export function coordinatorService(
  about: About,
  mutations: Mutations,
  stale: StaleStore,
  dump: () => object
): Handlers<CoordinatorServiceDefinition> {
  const { store, clock } = mutations
  return {
    getCoordinator: unary({
      check: () => null,
      method: async () => ({
        installationId: about.installationId,
        version: about.version,
        coordinatorEpoch: String(about.epoch()),
        incarnation: about.incarnation,
        started: wireTime(about.started),
        caFingerprint: about.fingerprint,
        storeBytes: String(store.size()),
        readOnly: store.isFull,
        dataCenterId: about.dataCenterId,
        mayBeStale: stale.isStale,
        awaitedHostIds: [...stale.awaited]
      })
    }),
    backup: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          name: fields.matching(
            'name',
            /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.db$/,
            'must be NAME.db: letters, digits, ".", "_" and "-"'
          )
        }
      }),
      method: async (request, context) => {
        const before = mutations.earlier('Backup', request, context)
        if (before) return before
        const { size, ...backup } = await writeBackup(store, about.backupFolder, request.content.name)
        return mutations.perform('Backup', request, context, (tx, actor) => {
          const text = `a backup of the store was written to ${backup.path}`
          addEvent(tx, { severity: 'info', kind: 'coordinator.backup', text, actor }, clock.wall())
          return { ...backup, size: String(size) }
        })
      }
    }),
    dump: unary({
      check: () => null,
      method: async () => ({ json: JSON.stringify(dump()) })
    })
  }
}
