import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/v1/HostService.js'
import { denyHost, revokeCertificates } from '../store/certificates.js'
import { throwIfClaimed } from '../store/claims.js'
import { cluster } from '../store/clusters.js'
import { throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import {
  deleteHostRow,
  freeSanlockHostId,
  host,
  insertHost,
  updateHost,
  vmsOn,
  type FenceDevice,
  type Host
} from '../store/hosts.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { bit, sql, type Tx } from '../store/query.js'
import { deleteSecretsBelow, type Secrets } from '../store/secrets.js'
import type { Denied } from '../trust/denied.js'
import type { Enrolment } from '../trust/enrolment.js'
import { readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import { publicPower, readPower, type WantedPower } from './host-fields.js'
import { hostMessage, type HostNow } from './host-message.js'
import type { Lists, ListSpec } from './list.js'
import type { Mutations } from './mutation.js'

export type HostServiceOptions = {
  lists: Lists
  mutations: Mutations
  enrolment: Enrolment
  denied: Denied
  secrets: Secrets
  now: HostNow
  /** What an agent needs to find and believe this coordinator. */
  place: { address: string; fingerprint: string }
  /** Verbs that are jobs: maintenance, activation, fencing, confirmation. */
  jobs: Partial<
    Pick<
      Handlers<HostServiceDefinition>,
      'deactivateHost' | 'activateHost' | 'upgradeHost' | 'fenceHost' | 'confirmHostStopped'
    >
  >
}

const statuses = [
  'pending_enrolment',
  'initializing',
  'up',
  'connecting',
  'non_responsive',
  'preparing_for_maintenance',
  'maintenance',
  'non_operational',
  'down'
]
const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    status: { column: 'status', kind: 'enum', values: statuses },
    cluster_id: { column: 'clusterId', kind: 'id' }
  },
  orders: { name: 'name', status: 'status', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}
const maskPaths = ['name', 'power_management', 'cluster_id', 'keeps_power'] as const
const standardPower: WantedPower = { isEnabled: false, devices: [] }

export function hostService(options: HostServiceOptions): Handlers<HostServiceDefinition> {
  const { lists, mutations, enrolment, denied, secrets, now, place, jobs } = options
  const { store, clock } = mutations
  const shown = (id: string) => hostMessage(store.read, host(store.read, id), now)
  const tokenFor = (id: string) => {
    const token = store.transaction(tx => enrolment.newToken(tx, id))
    return { host: shown(id), token, caFingerprint: place.fingerprint, coordinatorAddress: place.address }
  }

  return {
    ...jobs,
    createHost: unary({
      check: fields => {
        const { power, ...content } = fields.message('host', it => ({
          ...{ id: readOwnId(it, 'hostId'), name: readObjectName(it), clusterId: it.uuid('clusterId') },
          power: it.optionalMessage('powerManagement', readPower) ?? standardPower
        }))
        return {
          requestId: fields.uuid('requestId'),
          content: { ...content, power: publicPower(power) },
          power
        }
      },
      method: async (request, context) => {
        const { id } = mutations.perform('CreateHost', request, context, (tx, actor) => {
          const { name, clusterId } = request.content
          const id = request.content.id ?? clock.newId()
          cluster(tx, clusterId)
          throwIfNameTaken(tx, 'host', name)
          throwIfIdTaken(tx, 'host', id)
          const created = clock.wall()
          insertHost(tx, {
            ...{
              id,
              name,
              clusterId,
              created,
              mode: 'pending',
              health: 'initializing',
              healthSince: created
            },
            ...{ sanlockHostId: freeSanlockHostId(tx), address: '', proof: '', lastFence: null },
            ...{ powerEnabled: bit(request.power.isEnabled), powerJson: '[]' },
            ...{ capabilitiesJson: null, lastSeen: null }
          })
          putPower(tx, host(tx, id), request.power, secrets)
          addEvent(tx, { ...about('host.created', `host ${name} was created`, id), actor }, created)
          return { id }
        })
        return tokenFor(id)
      }
    }),
    createEnrolmentToken: unary({
      check: hostCommand,
      method: async (request, context) => {
        const { id } = mutations.perform('CreateEnrolmentToken', request, context, (tx, actor) => {
          const { id, name } = host(tx, resolveId(tx, 'host', request.content.name))
          const text = `a new enrolment token was made for host ${name}`
          addEvent(tx, { ...about('host.token_created', text, id), actor }, clock.wall())
          return { id }
        })
        return tokenFor(id)
      }
    }),
    reinstallHost: unary({
      check: hostCommand,
      method: async (request, context) => {
        const { id } = mutations.perform('ReinstallHost', request, context, (tx, actor) => {
          const { id, name, mode, status } = host(tx, resolveId(tx, 'host', request.content.name))
          throwIfClaimed(tx, { type: 'host', id, mode: 'change' })
          if (!['pending', 'maintenance'].includes(mode) && status !== 'down') {
            throw new Fault('WRONG_STATE', `host ${name} is ${status}: deactivate it first`, {
              facts: { host: id }
            })
          }
          refuse(tx, id, clock.wall())
          const text = `host ${name} is installed anew: its old certificates are refused`
          addEvent(tx, { ...about('host.reinstall', text, id), severity: 'warning', actor }, clock.wall())
          return { id }
        })
        denied.refresh(store.read)
        return tokenFor(id)
      }
    }),
    getHost: unary({
      check: fields => fields.idOrName('hostId', 64),
      method: async name => shown(resolveId(store.read, 'host', name))
    }),
    listHosts: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('host').select(['id', 'name', 'status', 'created'])
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { hosts: rows.map(({ id }) => shown(id)), nextPageToken }
      }
    }),
    updateHost: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const { power, ...content } = fields.message('host', it => ({
          ...{ id: it.uuid('hostId'), etag: readEtag(it) },
          name: mask.has('name') ? readObjectName(it) : null,
          clusterId: mask.has('cluster_id') ? it.uuid('clusterId') : null,
          keepsPower: mask.has('keeps_power') ? it.bool('keepsPower') : null,
          power: mask.has('power_management')
            ? (it.optionalMessage('powerManagement', readPower) ?? standardPower)
            : null
        }))
        return {
          requestId: fields.uuid('requestId'),
          content: { ...content, power: power && publicPower(power) },
          power
        }
      },
      method: async (request, context) => {
        const { id, etag, name, clusterId, keepsPower } = request.content
        mutations.perform('UpdateHost', request, context, (tx, actor) => {
          const before = host(tx, id)
          throwIfStaleEtag(etag, before, `host ${before.name}`)
          throwIfClaimed(tx, { type: 'host', id, mode: 'copy' })
          if (name !== null) throwIfNameTaken(tx, 'host', name, id)
          if (clusterId !== null) {
            cluster(tx, clusterId)
            throwUnless(before, ['pending', 'maintenance'], 'to move to another cluster')
          }
          if (request.power) putPower(tx, before, request.power, secrets)
          updateHost(tx, id, {
            ...(name !== null && { name }),
            ...(clusterId !== null && { clusterId }),
            ...(keepsPower !== null && { keepsPower: bit(keepsPower) })
          })
          addEvent(
            tx,
            { ...about('host.updated', `host ${before.name} was changed`, id), actor },
            clock.wall()
          )
          return {}
        })
        return shown(id)
      }
    }),
    deleteHost: unary({
      check: hostCommand,
      method: async (request, context) => {
        mutations.perform('DeleteHost', request, context, (tx, actor) => {
          const { id, name, mode, status } = host(tx, resolveId(tx, 'host', request.content.name))
          throwIfClaimed(tx, { type: 'host', id, mode: 'remove' })
          if (!['pending', 'maintenance'].includes(mode) && status !== 'down') {
            throw new Fault('WRONG_STATE', `host ${name} is ${status}: deactivate it first`, {
              facts: { host: id }
            })
          }
          if (vmsOn(tx, id) > 0)
            throw new Fault('WRONG_STATE', `host ${name} still has VMs`, { facts: { host: id } })
          refuse(tx, id, clock.wall())
          deleteSecretsBelow(tx, `host/${id}`)
          deleteHostRow(tx, id)
          addEvent(tx, { ...about('host.deleted', `host ${name} was deleted`, id), actor }, clock.wall())
          return {}
        })
        denied.refresh(store.read)
        return {}
      }
    }),
    revokeHost: unary({
      check: hostCommand,
      method: async (request, context) => {
        mutations.perform('RevokeHost', request, context, (tx, actor) => {
          const { id, name } = host(tx, resolveId(tx, 'host', request.content.name))
          refuse(tx, id, clock.wall())
          const text = `the certificate of host ${name} was revoked`
          addEvent(tx, { ...about('host.revoked', text, id), severity: 'warning', actor }, clock.wall())
          return {}
        })
        denied.refresh(store.read)
        return {}
      }
    })
  }
}

const hostCommand = (fields: Fields) => ({
  requestId: fields.uuid('requestId'),
  content: { name: fields.idOrName('hostId', 64) }
})

const about = (kind: string, text: string, id: string) => {
  return { severity: 'info', kind, text, objects: { host: id } } as const
}

function refuse(tx: Tx, id: string, now: number): void {
  revokeCertificates(tx, 'HOST', id, now)
  denyHost(tx, id, now)
}

function throwUnless(
  { id, name, mode, status }: Host,
  modes: ReadonlyArray<Host['mode']>,
  what: string
): void {
  if (modes.includes(mode)) return
  throw new Fault('WRONG_STATE', `host ${name} is ${status}: it must be in maintenance ${what}`, {
    facts: { host: id }
  })
}

/** Secrets go into their own table; one that is given empty stays what it is. */
function putPower(tx: Tx, before: Host, power: WantedPower, secrets: Secrets): void {
  const owner = (index: number) => `host/${before.id}/${index}`
  const kept = new Map(
    before.power.devices.flatMap(({ secretNames }, index) =>
      secretNames.map(name => [`${index}/${name}`, secrets.get(tx, owner(index), name)] as const)
    )
  )
  deleteSecretsBelow(tx, `host/${before.id}`)
  const devices = power.devices.map(({ fenceAgent, order, options, secrets: given }, index): FenceDevice => {
    const names: string[] = []
    for (const [name, secret] of given) {
      const value = secret.reveal() === '' ? (kept.get(`${index}/${name}`) ?? null) : secret
      if (!value) continue
      secrets.put(tx, owner(index), name, value)
      names.push(name)
    }
    return { fenceAgent, order, options, secretNames: names }
  })
  updateHost(tx, before.id, { powerEnabled: bit(power.isEnabled), powerJson: JSON.stringify(devices) })
}
