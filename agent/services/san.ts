import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { wwidRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { Lun as WireLun } from '../../proto/generated/types/drover/agent/v1/Lun.js'
import type { SanServiceDefinition } from '../../proto/generated/types/drover/agent/v1/SanService.js'
import type { BlockStorage, LunReport } from '../../storage/connections/block-storage.js'
import type { StorageConnection } from '../../storage/connections/connection.js'
import { type IscsiPortal, parsePortal, portalText } from '../../storage/connections/iscsi-target.js'
import { contentText } from '../../storage/connections/lun-contents.js'
import { hostKey } from '../../storage/connections/reservation-args.js'
import type { Reservations } from '../../storage/connections/reservations.js'
import { stampOf } from '../gate.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'
import { chapOf, portalRule, portalsOf, wwidsOf } from './san-fields.js'

export type SanVerbs = {
  block: BlockStorage
  reservations: Reservations
  tasks: Tasks
  /** How the storage domains of this host are reached: their sessions stay. */
  connections(): Array<StorageConnection | null>
  /** LUNs of the VMs that run here: theirs stay too. */
  lunsInUse(): string[]
}

/** Storage networks of this host: translates, and hands to the tasks. */
export function sanService(verbs: SanVerbs): Handlers<SanServiceDefinition> {
  return { ...iscsiHandlers(verbs), ...reservationHandlers(verbs) }
}

function iscsiHandlers({ block, tasks, connections, lunsInUse }: SanVerbs) {
  return {
    discoverIscsi: unary({
      check: fields => {
        const portal = parsePortal(fields.is('portal', portalRule, ''))
        return {
          portal: portal ?? fields.refuse('portal', 'must be HOST or HOST:PORT', { host: '', port: 1 }),
          chap: chapOf(fields)
        }
      },
      method: async ({ portal, chap }, { signal }) => ({
        portals: await block.discover(portal, chap, signal)
      })
    }),
    loginIscsi: unary({
      check: fields => ({
        stamp: stampOf(fields),
        portals: portalsOf(fields),
        chap: chapOf(fields),
        ioTimeout: seconds(fields.integerOr('ioTimeoutSeconds', 10, 1, 40))
      }),
      method: async ({ stamp, portals, ...settings }) =>
        taskMessage(
          await tasks.run({
            ...plan('LoginIscsi', stamp, { portals, ioTimeout: settings.ioTimeout }),
            work: async ({ signal }) => {
              const outcomes = await block.login(portals, settings, signal)
              const good = outcomes.filter(({ outcome }) => outcome !== 'failed')
              const bad = outcomes.filter(({ outcome }) => outcome === 'failed')
              return {
                loggedIn: good.map(({ portal }) => nameOf(portal)).join('\n'),
                failed: bad.map(({ portal, problem }) => `${nameOf(portal)}: ${problem}`).join('\n')
              }
            }
          })
        )
    }),
    logoutIscsi: unary({
      check: fields => ({ stamp: stampOf(fields), portals: portalsOf(fields) }),
      method: async ({ stamp, portals }) =>
        taskMessage(
          await tasks.run({
            ...plan('LogoutIscsi', stamp, { portals }),
            work: async ({ signal }) => {
              throwIfUsed(portals, connections())
              throwIfOfVms(portals, await block.sessionsOf(lunsInUse()))
              await block.logout(portals, signal)
              return { loggedOut: portals.map(nameOf).join('\n') }
            }
          })
        )
    }),
    seeLuns: unary({
      check: fields => fields.each('wwids', 1000, wwidRule),
      method: async (wwids, { signal }) => {
        const known = await block.paths(signal)
        return { wwids: [...new Set(wwids)].filter(wwid => known.has(wwid)) }
      }
    }),
    listLuns: unary({
      check: fields => fields.bool('rescan'),
      method: async (rescan, { signal }) => {
        if (rescan) await block.rescan(signal)
        return { luns: (await block.luns(signal)).map(lunMessage) }
      }
    })
  }
}

function reservationHandlers({ block, reservations, tasks }: SanVerbs) {
  /** The SCSI disks of each LUN: reservations belong to paths. */
  const pathsOf = async (luns: readonly string[], signal: AbortSignal): Promise<string[][]> => {
    const known = await block.paths(signal)
    return luns.map(wwid => {
      const paths = known.get(wwid)
      if (paths === undefined) throw new Fault('NOT_FOUND', `this host does not see LUN ${wwid}`)
      return paths
    })
  }
  return {
    registerLunKey: unary({
      check: fields => ({ stamp: stampOf(fields), luns: wwidsOf(fields), key: keyOf(fields, 'key') }),
      method: async ({ stamp, luns, key }) =>
        taskMessage(
          await tasks.run({
            ...plan('RegisterLunKey', stamp, { luns, key }),
            work: async ({ signal }) => {
              for (const paths of await pathsOf(luns, signal)) await reservations.register(paths, key, signal)
              return { key }
            }
          })
        )
    }),
    preemptLunKey: unary({
      check: fields => {
        const [key, other] = [keyOf(fields, 'key'), keyOf(fields, 'other')]
        if (key === other) fields.refuse('other', 'must be another host', null)
        return { stamp: stampOf(fields), luns: wwidsOf(fields), key, other }
      },
      method: async ({ stamp, luns, key, other }) =>
        taskMessage(
          await tasks.run({
            ...plan('PreemptLunKey', stamp, { luns, key, other }),
            work: async ({ signal }) => {
              for (const [path] of await pathsOf(luns, signal)) {
                if (path !== undefined) await reservations.preempt(path, key, other, signal)
              }
              return { preempted: other, luns: luns.join('\n') }
            }
          })
        )
    })
  }
}

const plan = (method: string, stamp: ReturnType<typeof stampOf>, content: object) => ({
  stamp,
  kind: `SanService.${method}`,
  content,
  objects: {},
  locks: []
})

const keyOf = (fields: Fields, field: string): string =>
  fields.message(field, key =>
    hostKey(key.integer('sanlockHostId', 1, 249), key.integer('generation', 1, Number.MAX_SAFE_INTEGER))
  )

export const nameOf = (portal: IscsiPortal) => `${portal.iqn} at ${portalText(portal)}`

function throwIfUsed(portals: readonly IscsiPortal[], connections: Array<StorageConnection | null>): void {
  const used = connections.flatMap(connection => (connection?.kind === 'iscsi' ? connection.portals : []))
  const hit = portals.find(portal => used.some(other => nameOf(other) === nameOf(portal)))
  if (hit) throw new Fault('WRONG_STATE', `${nameOf(hit)} is in use by a storage domain of this host`)
}

/** A target is another name for all of its portals: whichever the VM's disk goes through may be the last. */
function throwIfOfVms(portals: readonly IscsiPortal[], sessions: ReadonlyArray<{ iqn: string }>): void {
  const hit = portals.find(({ iqn }) => sessions.some(session => session.iqn === iqn))
  if (hit) throw new Fault('WRONG_STATE', `a LUN of ${hit.iqn} is in use by a VM that runs on this host`)
}

const states = {
  free: 'LUN_STATE_FREE',
  used: 'LUN_STATE_USED',
  foreign: 'LUN_STATE_FOREIGN',
  refused: 'LUN_STATE_REFUSED'
} as const

function lunMessage(lun: LunReport): WireLun {
  const contents = lun.contents ?? []
  const storageDomain = contents.find(content => content.kind === 'storageDomain')
  return {
    wwid: lun.wwid,
    device: lun.device,
    sizeBytes: String(lun.size),
    blockSize: lun.sectorSize,
    vendor: lun.vendor,
    product: lun.product,
    serial: lun.serial,
    transport: lun.transport,
    multipath: lun.isMultipath,
    paths: lun.paths.map(({ disk, state }) => {
      const session = lun.sessions.find(({ disks }) => disks.includes(disk))
      const portal = session && {
        iqn: session.iqn,
        host: session.host,
        port: session.port,
        group: session.group
      }
      return { disk, state, portal: portal ?? null, sessionState: session?.state ?? '' }
    }),
    state: states[lun.use.state],
    reason: lun.use.why,
    contents: contents.map(contentText),
    users: lun.users,
    storageDomainId: storageDomain?.storageDomainId ?? ''
  }
}
