import { isHost } from '../../common/address-rules.js'
import type { Fields } from '../../common/fields.js'
import { matchingRule, type Rule, wwidRule } from '../../common/rules.js'
import { Secret } from '../../common/secret.js'
import type { Chap } from '../../storage/connections/iscsi-settings.js'
import { isChapSecret, isChapUser, isIqn, type IscsiPortal } from '../../storage/connections/iscsi-target.js'

// How the fields that several requests to storage networks share are read.

const iqnRule: Rule<string> = value =>
  typeof value === 'string' && isIqn(value)
    ? { value }
    : { wrong: 'must be the name of an iSCSI target: iqn.YYYY-MM.DOMAIN:NAME, eui. or naa.' }
const hostRule: Rule<string> = value =>
  typeof value === 'string' && isHost(value) ? { value } : { wrong: 'must be an address or a DNS name' }
const userRule: Rule<string> = value =>
  typeof value === 'string' && isChapUser(value)
    ? { value }
    : { wrong: 'must be 1 to 255 printable characters of ASCII without spaces' }
const secretRule: Rule<string> = value =>
  typeof value === 'string' && isChapSecret(value)
    ? { value }
    : { wrong: 'must be 12 to 100 printable characters of ASCII without spaces' }

export const wwidsOf = (fields: Fields) => fields.each('luns', 64, wwidRule, 1)

const portalOf = (fields: Fields): IscsiPortal => ({
  iqn: fields.is('iqn', iqnRule, ''),
  host: fields.is('host', hostRule, ''),
  port: fields.integerOr('port', 3260, 1, 65535),
  group: fields.integerOr('group', 1, 1, 65535)
})

/** 1 to 64 ways to targets. */
export function portalsOf(fields: Fields): IscsiPortal[] {
  const portals = fields.list('portals', 64, portalOf)
  return portals.length > 0 ? portals : fields.refuse('portals', 'must name at least one', [])
}

/** Null where no proof is wanted. */
export function chapOf(fields: Fields): Chap | null {
  return fields.optionalMessage('chap', chap => {
    const user = chap.is('user', userRule, '')
    const secret = new Secret(chap.is('secret', secretRule, ''))
    const mutualUser = chap.optional('mutualUser', userRule, '')
    const mutualSecret = chap.optional('mutualSecret', secretRule, '')
    if ((mutualUser === null) !== (mutualSecret === null))
      chap.refuse('mutualSecret', 'goes together with mutual_user', null)
    const mutual =
      mutualUser === null || mutualSecret === null
        ? null
        : { user: mutualUser, secret: new Secret(mutualSecret) }
    return { user, secret, mutual }
  })
}

export const portalRule = matchingRule(
  /^[^\s/]{1,260}$/,
  'must be HOST or HOST:PORT, an IPv6 address in brackets'
)
