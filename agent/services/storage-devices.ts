import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import { isWwid } from '../../common/address-rules.js'
import { isDevicePath } from '../../storage/connections/devices.js'
import type { DeviceChange } from '../../storage/plan-device.js'
import { taskMessage } from '../task-message.js'
import type { StorageVerbs } from './storage.js'
import { commandOf, exclusive } from './storage-tasks.js'

const verbs = { add: 'addDevice', resize: 'resizeDevice', remove: 'removeDevice' } as const

/** Devices of block storage domains: more room, and less. */
export function deviceHandlers({ storage, tasks }: StorageVerbs) {
  return {
    changeDevice: unary({
      check: fields => ({ ...commandOf(fields), ...changeOf(fields) }),
      method: async ({ stamp, storageDomainId: id, ...request }) => {
        const task = await tasks.run({
          ...{ stamp, kind: 'StorageService.ChangeDevice', content: { id, ...request } },
          objects: { storageDomain: id },
          // Nobody uses a volume that moves; more room comes beside everything else.
          locks:
            request.change === 'remove' ? exclusive(id) : [{ level: 'storageDomain', id, mode: 'shared' }],
          work: async ({ signal }) => {
            const device = await storage.deviceOf(id, request.device, signal)
            await storage.askActive(id, verbs[request.change], { device }, signal)
            return { device }
          }
        })
        return taskMessage(task)
      }
    }),
    planDevice: unary({
      check: fields => ({ id: fields.uuid('storageDomainId'), ...changeOf(fields) }),
      method: async ({ id, device: name, change }, { signal }) => {
        const device = await storage.deviceOf(id, name, signal, change === 'add')
        const plan = await storage.ask(id, 'planDevice', { device, change }, signal)
        return { changes: plan.changes, obstacle: plan.obstacle ?? '', movedBytes: String(plan.moved) }
      }
    })
  }
}

const changes = {
  DEVICE_CHANGE_ADD: 'add',
  DEVICE_CHANGE_RESIZE: 'resize',
  DEVICE_CHANGE_REMOVE: 'remove'
} as const satisfies Record<string, DeviceChange>

const changeOf = (fields: Fields) => ({
  device: fields.is(
    'device',
    value =>
      typeof value === 'string' && (isDevicePath(value) || isWwid(value))
        ? { value }
        : { wrong: 'must be the path of a device below /dev, or a WWID' },
    ''
  ),
  change:
    changes[fields.choice('change', ['DEVICE_CHANGE_ADD', 'DEVICE_CHANGE_RESIZE', 'DEVICE_CHANGE_REMOVE'])]
})
