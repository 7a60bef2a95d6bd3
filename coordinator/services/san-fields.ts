import { isHost } from '../../common/address-rules.js'
import type { Fields } from '../../common/fields.js'
import { matchingRule, type Rule } from '../../common/rules.js'
import { Secret } from '../../common/secret.js'

// Ways to iSCSI targets and proofs of identity, read from the wire. The agent looks at them again.

export type IscsiPortal = { iqn: string; host: string; port: number; group: number }
export type Chap = { user: string; secret: Secret; mutualUser: string; mutualSecret: Secret }

const iqnRule = matchingRule(
  /^(?=.{1,223}$)(?!.*\.\.)(iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[A-Za-z0-9._:-]+)?|eui\.[0-9A-Fa-f]{16}|naa\.([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32}))$/,
  'must be the name of an iSCSI target: iqn.YYYY-MM.DOMAIN:NAME, eui. or naa.'
)
const hostRule: Rule<string> = value =>
  typeof value === 'string' && isHost(value) ? { value } : { wrong: 'must be an address or a DNS name' }
const userRule = matchingRule(
  /^[\x21-\x7e]{1,255}$/,
  'must be 1 to 255 printable characters of ASCII without spaces'
)
const secretRule = matchingRule(
  /^[\x21-\x7e]{12,100}$/,
  'must be 12 to 100 printable characters of ASCII without spaces'
)

export const portalRule = matchingRule(
  /^[^\s/]{1,260}$/,
  'must be HOST or HOST:PORT, an IPv6 address in brackets'
)

/** 1 to 64 ways. */
export function readPortals(fields: Fields): IscsiPortal[] {
  const portals = fields.list('portals', 64, portal => ({
    iqn: portal.is('iqn', iqnRule, ''),
    host: portal.is('host', hostRule, ''),
    port: portal.integerOr('port', 3260, 1, 65535),
    group: portal.integerOr('group', 1, 1, 65535)
  }))
  return portals.length > 0 ? portals : fields.refuse('portals', 'must name at least one', [])
}

export function readChap(fields: Fields): Chap | null {
  return fields.optionalMessage('chap', chap => ({
    user: chap.is('user', userRule, ''),
    secret: new Secret(chap.is('secret', secretRule, '')),
    mutualUser: chap.optional('mutualUser', userRule, '') ?? '',
    mutualSecret: new Secret(chap.optional('mutualSecret', secretRule, '') ?? '')
  }))
}

/** On its way to a host, and nowhere else. */
export const wireChap = (chap: Chap | null) =>
  chap && { ...chap, secret: chap.secret.reveal(), mutualSecret: chap.mutualSecret.reveal() }
