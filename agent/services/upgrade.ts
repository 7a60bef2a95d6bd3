import type { Fields } from '../../common/fields.js'
import { matchingRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/agent/v1/HostService.js'
import { stampOf } from '../gate.js'
import type { Requests } from '../requests.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'
import type { Packages } from '../upgrade/packages.js'

export type UpgradeVerbs = {
  packages: Pick<Packages, 'upgrade'>
  reboot(bootId: string, signal: AbortSignal): Promise<void>
  tasks: Tasks
  requests: Requests
}

/** By Debian's policy; a leading "-" would be an option to apt. */
const packageRule = matchingRule(/^[a-z0-9][a-z0-9+.-]{1,127}$/, 'is not the name of a Debian package')

/** New packages and a new boot for this host. */
export function upgradeService(
  verbs: UpgradeVerbs
): Pick<Handlers<HostServiceDefinition>, 'upgradePackages' | 'rebootHost'> {
  const { packages, tasks, requests } = verbs
  return {
    upgradePackages: unary({
      check: (fields: Fields) => ({
        stamp: stampOf(fields),
        packages: fields.each('packages', 100, packageRule),
        isRefreshed: fields.bool('refresh'),
        isDryRun: fields.bool('dryRun')
      }),
      method: async ({ stamp, ...wanted }) =>
        taskMessage(
          await tasks.run({
            ...{ stamp, kind: 'HostService.UpgradePackages', content: wanted, objects: {}, locks: [] },
            work: run => packages.upgrade(stamp.requestId, wanted, run)
          })
        )
    }),
    rebootHost: unary({
      check: fields => ({ stamp: stampOf(fields), bootId: fields.uuid('bootId') }),
      method: async ({ stamp, bootId }, { signal }) =>
        requests.once({ stamp, kind: 'HostService.RebootHost', content: { bootId } }, async () => {
          await verbs.reboot(bootId, signal)
          return {}
        })
    })
  }
}
