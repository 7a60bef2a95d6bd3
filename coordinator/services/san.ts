import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { SanServiceDefinition } from '../../proto/generated/types/drover/v1/SanService.js'
import { agentServices } from '../../proto/load.js'
import type { Agents } from '../agents.js'
import { resolveId } from '../store/names.js'
import type { Store } from '../store/store.js'
import { portalRule, readChap, readPortals, wireChap } from './san-fields.js'

const agent = agentServices.san
/** Portals that are dead cost a login half a minute, and a disk that hangs a listing a quarter. */
const longest = seconds(120)

/** Storage networks as a host sees them: asked there, nothing of it is kept here; secrets least of all. */
export function sanService(store: Store, agents: Agents): Handlers<SanServiceDefinition> {
  const hostOf = (name: string) => resolveId(store.read, 'host', name)
  const sessions = (fields: Fields) => ({
    requestId: fields.uuid('requestId'),
    host: fields.idOrName('hostId', 64),
    portals: readPortals(fields)
  })
  const lines = (text = '') => text.split('\n').filter(line => line !== '')

  return {
    listLuns: unary({
      check: fields => ({ host: fields.idOrName('hostId', 64), rescan: fields.bool('rescan') }),
      method: async ({ host, rescan }, { signal }) => {
        const { luns } = await agents.call(hostOf(host), agent.ListLuns, { rescan }, signal, longest)
        return { luns }
      }
    }),
    discoverIscsi: unary({
      check: fields => ({
        host: fields.idOrName('hostId', 64),
        portal: fields.is('portal', portalRule, ''),
        chap: readChap(fields)
      }),
      method: async ({ host, portal, chap }, { signal }) => {
        const request = { portal, chap: wireChap(chap) }
        const { portals } = await agents.call(hostOf(host), agent.DiscoverIscsi, request, signal, longest)
        return { portals }
      }
    }),
    // The host remembers the request id: a repeat has one effect and gets the same answer.
    loginIscsi: unary({
      check: fields => ({
        ...sessions(fields),
        chap: readChap(fields),
        ioTimeoutSeconds: fields.integerOr('ioTimeoutSeconds', 10, 1, 40)
      }),
      method: async ({ host, chap, ...request }, { signal }) => {
        const wire = { ...request, chap: wireChap(chap) }
        const result = await agents.runTask(hostOf(host), agent.LoginIscsi, wire, { signal })
        return { done: lines(result['loggedIn']), failed: lines(result['failed']) }
      }
    }),
    logoutIscsi: unary({
      check: sessions,
      method: async ({ host, ...request }, { signal }) => {
        const result = await agents.runTask(hostOf(host), agent.LogoutIscsi, request, { signal })
        return { done: lines(result['loggedOut']), failed: [] }
      }
    })
  }
}
