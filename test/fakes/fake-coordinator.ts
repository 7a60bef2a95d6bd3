import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { identityUri } from '../../common/identity.js'
import { contentHash } from '../../common/ids.js'
import { bidi, clientStream, serverStream, unary } from '../../common/rpc.js'
import { RpcServer } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import { coordinatorServices as services, descriptorSet, standardServices } from '../../proto/load.js'
import { authority } from './authority.js'
import type { Job } from '../../proto/generated/types/drover/v1/Job.js'
import type { Vm } from '../../proto/generated/types/drover/v1/Vm.js'

type Tap = { teardown(fn: () => unknown): void }

/**
 * A coordinator without hosts: a real server on a unix socket over a small world in memory, for tests of
 * clients. Jobs end when they are watched to their end, or at the second look.
 */
export async function fakeCoordinator(t: Tap) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-fake-'))
  const socket = join(folder, 'coordinator.sock')
  const trusted: { installation: string | null } = { installation: null }
  const server = new RpcServer({
    contract: { descriptorSet, standardServices },
    trust: { installation: () => trusted.installation, denies: () => false },
    log: pino({ level: 'silent' }),
    clock: systemClock
  })
  const world = new FakeWorld()
  server.add(services.vm, world.vmHandlers()).add(services.job, world.jobHandlers())
  server.add(services.cluster, world.clusterHandlers()).add(services.template, world.templateHandlers())
  server.add(services.host, world.hostHandlers()).add(services.disk, world.diskHandlers())
  server.add(services.storageDomain, world.storageDomainHandlers()).add(services.event, world.eventHandlers())
  server.addStandard()
  await server.listenUnix(socket)
  t.teardown(async () => {
    await server.stop(seconds(0.1))
    rmSync(folder, { recursive: true, force: true })
  })
  /** Opens the TLS door too; the folder has ca.pem, admin.pem and admin.key. */
  const overTls = async () => {
    const installation = randomUUID()
    trusted.installation = installation
    const ca = await authority()
    const own = { uris: [identityUri(installation, 'COORDINATOR', randomUUID())], dns: ['coordinator.test'] }
    const admin = await ca.issue({ uris: [identityUri(installation, 'ADMIN', 'ann')] })
    writeFileSync(join(folder, 'ca.pem'), ca.trust)
    writeFileSync(join(folder, 'admin.pem'), admin.certificate)
    writeFileSync(join(folder, 'admin.key'), admin.key)
    return server.listenTls({
      host: '127.0.0.1',
      port: 0,
      certificates: await ca.issue(own),
      allowAnonymous: true
    })
  }
  return { socket, world, server, folder, overTls }
}

type Named = { id: string; name: string }

export class FakeWorld {
  readonly cluster: Named = { id: randomUUID(), name: 'main' }
  readonly host: Named = { id: randomUUID(), name: 'alpha' }
  readonly template: Named = { id: randomUUID(), name: 'debian-12' }
  readonly storageDomain: Named = { id: randomUUID(), name: 'fast' }
  readonly vms = new Map<string, Vm>()
  readonly jobs = new Map<string, Job & { finish(): void }>()
  readonly requests = new Map<string, { hash: string; job: Job }>()
  /** What jobs that begin from now on end with. */
  failure: Fault | null = null

  addVm(name: string, more: Vm = {}): string {
    const vmId = randomUUID()
    this.vms.set(vmId, {
      vmId,
      name,
      status: 'VM_STATUS_DOWN',
      memoryBytes: '1073741824',
      vcpus: 1,
      etag: '1',
      ...more
    })
    return vmId
  }

  vmHandlers() {
    const command = (kind: string, effect: (vm: Vm) => void) =>
      unary({
        check: fields => ({ requestId: fields.uuid('requestId'), vmId: fields.uuid('vmId') }),
        method: async request => {
          const vm = this.#vm(request.vmId)
          return this.#begin(kind, request, { vm: request.vmId }, () => effect(vm))
        }
      })
    return {
      getVm: unary({ check: fields => fields.name('vmId'), method: async name => this.#vm(name) }),
      listVms: unary({
        check: fields => ({
          size: fields.integerOr('pageSize', 100, 1, 1000),
          token: Number(fields.optionalMatching('pageToken', /^\d{1,6}$/, 'must be a page token') ?? 0),
          filter: fields.freeText('filter')
        }),
        method: async ({ size, token, filter }) => {
          const all = [...this.vms.values()].filter(
            ({ name = '' }) => filter === '' || filter === `name = "${name}"`
          )
          const next = token + size < all.length ? String(token + size) : ''
          return { vms: all.slice(token, token + size), nextPageToken: next }
        }
      }),
      createVm: unary({
        check: fields => ({
          requestId: fields.uuid('requestId'),
          templateId: fields.optionalUuid('templateId'),
          vm: fields.message('vm', vm => ({
            name: vm.name('name', 64),
            clusterId: vm.uuid('clusterId'),
            vcpus: vm.integerOr('vcpus', 1, 1, 512),
            memoryBytes: String(vm.int64('memoryBytes', 0n, 2n ** 44n)),
            ha: vm.optionalMessage('ha', ha => ({ enabled: ha.bool('enabled') }))
          }))
        }),
        method: async request => {
          const vmId = randomUUID()
          return this.#begin('vm.create', request, { vm: vmId }, () => {
            this.vms.set(vmId, { ...request.vm, vmId, status: 'VM_STATUS_DOWN', etag: '1' })
          })
        }
      }),
      updateVm: unary({
        check: fields => ({
          mask: fields.fieldMask('updateMask', ['name', 'description', 'vcpus', 'memory_bytes']),
          vm: fields.message('vm', vm => ({ vmId: vm.uuid('vmId'), description: vm.freeText('description') }))
        }),
        method: async ({ vm, mask }) => {
          const known = this.#vm(vm.vmId)
          if (mask.has('description')) known.description = vm.description
          return known
        }
      }),
      startVm: command('vm.start', vm => Object.assign(vm, { status: 'VM_STATUS_UP', hostId: this.host.id })),
      stopVm: command('vm.stop', vm => Object.assign(vm, { status: 'VM_STATUS_DOWN', hostId: '' })),
      migrateVm: command('vm.migrate', () => {}),
      deleteVm: command('vm.delete', vm => this.vms.delete(vm.vmId ?? '')),
      explainVm: unary({
        check: fields => fields.uuid('vmId'),
        method: async () => ({
          decisions: [
            {
              purpose: 'start',
              hostId: this.host.id,
              summary: 'alpha has the most free memory',
              verdicts: [
                { hostId: this.host.id, hostName: 'alpha', score: 0.25, scores: { memory: 0.25 } },
                {
                  hostId: randomUUID(),
                  hostName: 'beta',
                  filter: 'memory',
                  reason: '1 GiB is free, 2 GiB are needed'
                }
              ]
            }
          ]
        })
      }),
      createConsoleTicket: unary({
        check: fields => fields.uuid('vmId'),
        method: async () => ({ password: 'secret12', expires: { seconds: '1900000000', nanos: 0 } })
      }),
      openConsole: bidi({
        check: fields => (fields.has('open') ? null : fields.bytes('data', 65536)),
        method: async function* (items) {
          yield { data: Buffer.from('login: ') }
          for await (const data of items) if (data) yield { data: Buffer.from(data.toString().toUpperCase()) }
        }
      })
    }
  }

  jobHandlers() {
    return {
      getJob: unary({ check: fields => fields.uuid('jobId'), method: async id => this.#job(id) }),
      listJobs: unary({ check: () => null, method: async () => ({ jobs: [...this.jobs.values()] }) }),
      watchJob: serverStream({
        check: fields => fields.uuid('jobId'),
        method: id => this.#watch(id)
      }),
      cancelJob: unary({ check: fields => fields.uuid('jobId'), method: async id => this.#job(id) })
    }
  }

  clusterHandlers() {
    const { id: clusterId, name } = this.cluster
    const cluster = { clusterId, name, etag: '1' }
    return {
      getCluster: unary({
        check: fields => fields.name('clusterId'),
        method: async asked => one(asked, this.cluster, cluster)
      }),
      listClusters: unary({ check: () => null, method: async () => ({ clusters: [cluster] }) })
    }
  }

  templateHandlers() {
    const { id: templateId, name } = this.template
    const template = { templateId, name, etag: '1', status: 'TEMPLATE_STATUS_OK' as const }
    return {
      getTemplate: unary({
        check: fields => fields.name('templateId'),
        method: async asked => one(asked, this.template, template)
      }),
      listTemplates: unary({ check: () => null, method: async () => ({ templates: [template] }) })
    }
  }

  hostHandlers() {
    const { id: hostId, name } = this.host
    const host = { hostId, name, clusterId: this.cluster.id, status: 'HOST_STATUS_UP' as const }
    return {
      getHost: unary({
        check: fields => fields.name('hostId'),
        method: async asked => one(asked, this.host, host)
      }),
      listHosts: unary({ check: () => null, method: async () => ({ hosts: [host] }) }),
      createHost: unary({
        check: fields => fields.message('host', inner => inner.name('name', 64)),
        method: async created => ({
          host: { ...host, name: created },
          token: 'token-1',
          caFingerprint: `sha256:${'a'.repeat(64)}`,
          coordinatorAddress: '10.0.0.1:7411'
        })
      })
    }
  }

  diskHandlers() {
    return {
      importDisk: clientStream({
        check: fields =>
          fields.oneof<{ size: bigint; sha256: string; requestId: string } | Buffer>('message', {
            open: f =>
              f.message('open', open => ({
                size: open.int64('size', 0n, 2n ** 46n),
                sha256: open.freeText('sha256', 64),
                requestId: open.uuid('requestId')
              })),
            data: f => f.bytes('data', 131072)
          }),
        method: async items => {
          const hash = createHash('sha256')
          let received = 0n
          let open = { size: 0n, sha256: '', requestId: '' }
          for await (const item of items) {
            if (Buffer.isBuffer(item)) {
              hash.update(item)
              received += BigInt(item.length)
            } else if (item) open = item
          }
          if (received !== open.size || hash.digest('hex') !== open.sha256)
            throw new Fault('IMAGE_REFUSED', 'the upload is broken')
          return this.#begin('disk.import', open, { disk: randomUUID() }, () => {})
        }
      })
    }
  }

  storageDomainHandlers() {
    const { id: storageDomainId, name } = this.storageDomain
    const storageDomain = {
      storageDomainId,
      name,
      status: 'STORAGE_DOMAIN_STATUS_ACTIVE' as const,
      totalBytes: '1073741824'
    }
    return {
      getStorageDomain: unary({
        check: fields => fields.name('storageDomainId'),
        method: async asked => one(asked, this.storageDomain, storageDomain)
      }),
      listStorageDomains: unary({
        check: () => null,
        method: async () => ({ storageDomains: [storageDomain] })
      })
    }
  }

  eventHandlers() {
    const event = {
      sequence: '1',
      time: { seconds: '1800000000', nanos: 0 },
      severity: 'SEVERITY_WARNING' as const,
      kind: 'host.non_responsive',
      text: 'host alpha is silent \u001b[31mred'
    }
    return {
      listEvents: unary({ check: () => null, method: async () => ({ events: [event] }) }),
      watchEvents: serverStream({
        check: () => null,
        method: async function* () {
          yield event
        }
      }),
      runAudit: unary({
        check: () => null,
        method: async () => ({ findings: this.findings, scope: '1 host' })
      })
    }
  }
  findings: Array<{ invariant: string; object: string; text: string }> = []

  /** Same request id and contents: the same job; other contents: a fault. */
  #begin(
    kind: string,
    request: { requestId: string },
    objects: Record<string, string>,
    effect: () => void
  ): Job {
    const hash = contentHash({ ...request, kind })
    const before = this.requests.get(request.requestId)
    if (before && before.hash !== hash)
      throw new Fault('REQUEST_ID_REUSED', 'the request id was used for another request')
    if (before) return before.job
    const jobId = randomUUID()
    const failure = this.failure
    const step = (name: string) => ({ name, state: 'STEP_STATE_PENDING' as const, attempts: 1 })
    const job: Job & { finish(): void } = {
      jobId,
      kind,
      objects,
      state: 'JOB_STATE_RUNNING',
      progress: { percent: 0 },
      steps: [step('prepare'), step('act')],
      finish: () => {
        if (job.state !== 'JOB_STATE_RUNNING') return
        job.state = failure ? 'JOB_STATE_UNDONE' : 'JOB_STATE_SUCCEEDED'
        job.progress = { percent: 100 }
        if (failure) job.failure = { reason: failure.reason, message: failure.message, facts: failure.facts }
        else effect()
      }
    }
    this.jobs.set(jobId, job)
    this.requests.set(request.requestId, { hash, job })
    return { ...job }
  }

  async *#watch(id: string): AsyncGenerator<Job> {
    const job = this.#job(id)
    yield { ...job, steps: [{ name: 'prepare', state: 'STEP_STATE_RUNNING' }] }
    yield {
      ...job,
      progress: { percent: 50, doneBytes: '512', totalBytes: '1024' },
      steps: [{ name: 'act', state: 'STEP_STATE_RUNNING' }]
    }
    job.finish()
    yield { ...job }
  }

  #job(id: string) {
    const job = this.jobs.get(id)
    if (!job) throw new Fault('NOT_FOUND', `there is no job ${id}`)
    return job
  }

  #vm(idOrName: string): Vm {
    const vm = this.vms.get(idOrName) ?? [...this.vms.values()].find(({ name }) => name === idOrName)
    if (!vm) throw new Fault('VM_NOT_FOUND', `there is no VM ${idOrName}`, { facts: { vm: idOrName } })
    return vm
  }
}

function one<T>(asked: string, { id, name }: Named, object: T): T {
  if (asked === id || asked === name) return object
  throw new Fault('NOT_FOUND', `there is no ${asked}`)
}
