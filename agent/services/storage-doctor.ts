import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import { uuidRule } from '../../common/rules.js'
import type { DoctorScope, RepairKind } from '../../storage/doctor/diagnosis.js'
import { taskMessage } from '../task-message.js'
import type { StorageVerbs } from './storage.js'
import { commandOf, exclusive } from './storage-tasks.js'

const kinds = [
  ...(['sweep', 'removeUnfinished', 'makeLegal', 'correctParent', 'correctCapacity', 'grow'] as const),
  ...(['writeVolumeLease', 'removeVmLease', 'rebuildVmLeases', 'removeOrphan'] as const)
] as const satisfies readonly RepairKind[]

const mostIds = 20_000
const mostRepairs = 2000

/** The doctor of a storage domain: says what is wrong, and does what was agreed upon. */
export function doctorHandlers({ storage, tasks, intents }: StorageVerbs) {
  const withOurs = (scope: DoctorScope) => ({ ...scope, intents: [...scope.intents, ...intents()] })
  return {
    diagnoseStorageDomain: unary({
      check: fields => ({ id: fields.uuid('storageDomainId'), scope: scopeOf(fields) }),
      method: async ({ id, scope }, { signal }) => {
        const found = await storage.ask(id, 'diagnose', withOurs(scope), signal)
        return { diagnoses: found.map(diagnosis => ({ ...diagnosis, kind: diagnosis.kind ?? '' })) }
      }
    }),
    repairStorageDomain: unary({
      check: fields => ({ ...commandOf(fields), scope: scopeOf(fields), wanted: repairsOf(fields) }),
      method: async ({ stamp, storageDomainId: id, scope, wanted }) => {
        const task = await tasks.run({
          ...{ stamp, kind: 'StorageService.RepairStorageDomain', content: { id, wanted } },
          ...{ objects: { storageDomain: id }, locks: exclusive(id) },
          work: async ({ signal }) => {
            const { done, failed, left } = await storage.askActive(
              id,
              'repair',
              { ...withOurs(scope), wanted },
              signal
            )
            const lines = { done, failed, left: left.map(({ text, plan }) => `${text}: ${plan}`) }
            return Object.fromEntries(Object.entries(lines).map(([name, all]) => [name, all.join('\n')]))
          }
        })
        return taskMessage(task)
      }
    })
  }
}

const scopeOf = (fields: Fields): DoctorScope =>
  fields.optionalMessage('scope', scope => ({
    intents: scope.each('busyIds', mostIds, uuidRule),
    vmIds: scope.bool('allVms') ? scope.each('vmIds', mostIds, uuidRule) : null
  })) ?? { intents: [], vmIds: null }

const repairsOf = (fields: Fields) =>
  fields.list(
    'repairs',
    mostRepairs,
    repair => ({ kind: repair.choice('kind', kinds), object: repair.uuid('object') }),
    1
  )
