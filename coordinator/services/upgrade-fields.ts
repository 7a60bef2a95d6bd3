import type { Fields } from '../../common/fields.js'
import { matchingRule } from '../../common/rules.js'
import type { UpgradeSettings } from '../jobs/upgrade-host.js'
import type { RebootWish } from '../jobs/upgrade-plan.js'

const packageRule = matchingRule(/^[a-z0-9][a-z0-9+.-]{1,127}$/, 'is not the name of a Debian package')
const wishes = {
  UPGRADE_REBOOT_IF_NEEDED: 'if_needed',
  UPGRADE_REBOOT_ALWAYS: 'always',
  UPGRADE_REBOOT_NEVER: 'never'
} as const satisfies Record<string, RebootWish>
const names = ['UPGRADE_REBOOT_IF_NEEDED', 'UPGRADE_REBOOT_ALWAYS', 'UPGRADE_REBOOT_NEVER'] as const

const standard: UpgradeSettings = { packages: [], isRefreshed: true, reboot: 'if_needed' }

/** Absent options are the usual ones. */
export const readUpgradeOptions = (fields: Fields): UpgradeSettings =>
  fields.optionalMessage('options', it => ({
    packages: it.each('packages', 100, packageRule),
    isRefreshed: !it.bool('keepLists'),
    reboot: wishes[it.choiceOr('reboot', 'UPGRADE_REBOOT_UNSPECIFIED', 'UPGRADE_REBOOT_IF_NEEDED', names)]
  })) ?? standard
