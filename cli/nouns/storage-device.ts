import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { idOf } from '../resource.js'
import { storageDomains } from '../resources.js'
import { withSession } from '../session.js'
import { formatSize } from '../units.js'
import { finish } from '../wait.js'

const service = coordinatorServices.storageDomain

/** Devices of a block storage domain: verbs of the noun storage-domain. */
export function addStorageDevice(noun: Command): void {
  const verbs = [
    ['add-device', 'DEVICE_CHANGE_ADD', 'added', 'Give a block storage domain one more LUN.'],
    ['resize-device', 'DEVICE_CHANGE_RESIZE', 'resized', 'Use what a LUN grew by.'],
    [
      'remove-device',
      'DEVICE_CHANGE_REMOVE',
      'taken out',
      'Move what lies on a LUN to the others and take it out; with volumes on it only in maintenance.'
    ]
  ] as const
  for (const [verb, change, done, description] of verbs) {
    noun
      .command(verb)
      .argument('<STORAGE-DOMAIN>', 'id or name')
      .argument('<DEVICE>', 'path below /dev, or WWID of a LUN')
      .option('--dry-run', 'only say what would happen')
      .description(description)
      .action(
        withSession(async (session, name: string, device: string, options: { dryRun?: boolean }) => {
          const isDryRun = options.dryRun ?? false
          const storageDomainId = await idOf(session, storageDomains, name)
          const request = {
            requestId: session.requestId(),
            storageDomainId,
            device,
            change,
            dryRun: isDryRun
          }
          const job = await session.call(service.ChangeStorageDomainDevice, request)
          await finish(session, job, ({ result }) => {
            if (!isDryRun) return `${device} is ${done}`
            if (session.options.json) return json(result)
            const moved = Number(result['moved_bytes'] ?? 0)
            const lines = [result['changes'] || 'nothing to do']
            if (moved > 0) lines.push(`${formatSize(moved)} would move: takes maintenance`)
            return lines.join('\n')
          })
        })
      )
  }
}
