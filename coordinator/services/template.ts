import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { uuidRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { bytes } from '../../common/units.js'
import type { TemplateServiceDefinition } from '../../proto/generated/types/drover/v1/TemplateService.js'
import type { SharedDisk } from '../jobs/make-template.js'
import type { NewVolume } from '../jobs/volumes.js'
import { throwIfClaimed, type Claim } from '../store/claims.js'
import { childrenOf, disk as diskOf, volumesOf, type Disk } from '../store/disks.js'
import { throwIfStaleEtag } from '../store/etag.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { sql, type Reader, type Tx } from '../store/query.js'
import { insertTemplate, template as templateOf, updateTemplate, vmsOfTemplate } from '../store/templates.js'
import { vmDisks, type Vm } from '../store/vms.js'
import { readDescription, readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import { insertNewDisk } from './create-vm.js'
import type { Lists, ListSpec } from './list.js'
import { templateMessage } from './messages.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { throwIfShared } from './shared-disks.js'
import { activeDomain, downVm, roomyDomain } from './vm-checks.js'
import { mostDisks, readFirmware, readMemory, readVcpus } from './vm-fields.js'
import type { Who } from './vm-orders.js'

const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    status: { column: 'status', kind: 'enum', values: ['creating', 'ok', 'removing'] }
  },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}

const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })

function readCreateTemplate(fields: Fields) {
  const vmId = fields.optionalUuid('vmId')
  const wanted = fields.message('template', it => {
    const diskIds = it.each('diskIds', mostDisks, uuidRule, vmId === null ? 1 : 0)
    if (new Set(diskIds).size < diskIds.length) it.refuse('diskIds', 'must not name a disk twice', null)
    if (vmId !== null && diskIds.length > 0) it.refuse('diskIds', 'must be empty where vm_id is given', null)
    return {
      ...{ id: readOwnId(it, 'templateId'), name: readObjectName(it), description: readDescription(it) },
      ...{ diskIds, vcpus: readVcpus(it), memory: readMemory(it), firmware: readFirmware(it) }
    }
  })
  return { vmId, ...wanted }
}

type Wanted = ReturnType<typeof readCreateTemplate>

export function templateService(workshop: Workshop, lists: Lists): Handlers<TemplateServiceDefinition> {
  const { mutations, jobs } = workshop
  const { store } = mutations
  const message = (id: string) => templateMessage(templateOf(store.read, id))

  return {
    createTemplate: unary({
      check: fields => asked(fields, readCreateTemplate(fields)),
      method: async (request, context) =>
        orderedJob(workshop, 'CreateTemplate', request, context, (tx, who) =>
          orderTemplate(workshop, tx, request.content, who)
        )
    }),
    getTemplate: unary({
      check: fields => fields.idOrName('templateId', 64),
      method: async name => message(resolveId(store.read, 'template', name))
    }),
    listTemplates: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('template').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { templates: rows.map(row => message(row.id)), nextPageToken }
      }
    }),
    updateTemplate: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', ['name', 'description', 'vcpus', 'memory_bytes'])
        const content = fields.message('template', it => ({
          ...{ id: it.uuid('templateId'), etag: readEtag(it), mask: [...mask] },
          ...(mask.has('name') && { name: readObjectName(it) }),
          ...(mask.has('description') && { description: readDescription(it) }),
          ...(mask.has('vcpus') && { vcpus: readVcpus(it) }),
          ...(mask.has('memory_bytes') && { memoryBytes: readMemory(it) ?? 0 })
        }))
        return asked(fields, content)
      },
      method: async (request, context) => {
        const { id, etag, mask: _, ...change } = request.content
        mutations.perform('UpdateTemplate', request, context, tx => {
          const before = templateOf(tx, id)
          throwIfStaleEtag(etag, before, `template ${before.name}`)
          throwIfClaimed(tx, { type: 'template', id, mode: 'read' })
          if (change.name !== undefined) throwIfNameTaken(tx, 'template', change.name, id)
          updateTemplate(tx, id, change)
          return {}
        })
        return message(id)
      }
    }),
    deleteTemplate: unary({
      check: fields => asked(fields, { templateId: fields.uuid('templateId') }),
      method: async (request, context) =>
        orderedJob(workshop, 'DeleteTemplate', request, context, (tx, who) => {
          const { templateId } = request.content
          const template = templateOf(tx, templateId)
          const disks = template.diskIds.map(id => unusedDisk(tx, template.name, id))
          const [vmId] = vmsOfTemplate(tx, templateId)
          if (vmId !== undefined) throw used(template.name, `VM ${vmId} was made from it`, { vm: vmId })
          return jobs.create(tx, 'template.delete', {
            context: {
              ...{ templateId, hostId: null },
              disks: disks.map(({ id, storageDomainId }) => ({ diskId: id, storageDomainId }))
            },
            objects: { template: templateId },
            claims: [
              { type: 'template', id: templateId, mode: 'remove' },
              ...disks.map(({ id }): Claim => ({ type: 'disk', id, mode: 'remove' }))
            ],
            ...who
          })
        })
    })
  }
}

const used = (name: string, why: string, facts: Record<string, string>) =>
  new Fault('WRONG_STATE', `template ${name} is in use: ${why}`, { facts })

function unusedDisk(reader: Reader, template: string, id: string): Disk {
  const child = volumesOf(reader, id)
    .flatMap(volume => childrenOf(reader, volume.id))
    .find(volume => volume.diskId !== id)
  if (child) throw used(template, `disk ${child.diskId} shares its volumes`, { disk: child.diskId })
  return diskOf(reader, id)
}

/** Disks that belong to nobody become the template's; those of a VM that is down are copied. */
function orderTemplate({ mutations: { clock }, jobs }: Workshop, tx: Tx, wanted: Wanted, who: Who): string {
  const { name, description, vmId } = wanted
  throwIfNameTaken(tx, 'template', name)
  const templateId = wanted.id ?? clock.newId()
  throwIfIdTaken(tx, 'template', templateId)
  const vm = vmId === null ? null : downVm(tx, vmId, 'become a template')
  const shared = vm ? [] : wanted.diskIds.map(id => shareableDisk(tx, id))
  const copies = vm ? copiesOf(tx, vm, name, clock.newId) : []
  const now = clock.wall()
  for (const [index, volume] of copies.entries()) insertNewDisk(tx, `${name}-disk${index + 1}`, volume, now)
  const diskIds = [...shared, ...copies].map(({ diskId }) => diskId)
  insertTemplate(
    tx,
    {
      ...{ id: templateId, name, description, status: 'creating', created: now },
      ...{ vcpus: wanted.vcpus || vm?.vcpus || 1, firmware: wanted.firmware ?? vm?.firmware ?? 'bios' },
      memoryBytes: wanted.memory ?? vm?.memoryBytes ?? 512 * 2 ** 20
    },
    diskIds
  )
  const sources = copies.flatMap(({ source }) => (source.kind === 'copy' ? [source.imageId] : []))
  return jobs.create(tx, 'template.create', {
    context: { templateId, hostId: null, shared, copies },
    objects: { template: templateId, ...(vm && { vm: vm.id }) },
    claims: [
      { type: 'template', id: templateId, mode: 'change' },
      ...diskIds.map((id): Claim => ({ type: 'disk', id, mode: 'change' })),
      ...sources.map((id): Claim => ({ type: 'disk', id, mode: 'copy' })),
      ...(vm ? [{ type: 'vm', id: vm.id, mode: 'change' } as const] : [])
    ],
    ...who
  })
}

function shareableDisk(reader: Reader, diskId: string): SharedDisk {
  const disk = diskOf(reader, diskId)
  const { name, status, vmId, templateId, volumeId, storageDomainId, chainLength } = disk
  const wrong =
    status !== 'ok'
      ? `is ${status}`
      : vmId !== ''
        ? `belongs to VM ${vmId}; detach it, or name the VM instead`
        : templateId !== ''
          ? `belongs to template ${templateId}`
          : disk.isShareable || disk.content === 'iso'
            ? `is ${disk.isShareable ? 'shareable' : 'an ISO image'}, and templates have none of these`
            : chainLength !== 1
              ? `has ${chainLength} volumes; copy it first`
              : null
  if (wrong !== null) throw new Fault('WRONG_STATE', `disk ${name} ${wrong}`, { facts: { disk: diskId } })
  activeDomain(reader, storageDomainId)
  return { diskId, volumeId, storageDomainId }
}

function copiesOf(reader: Reader, vm: Vm, name: string, newId: () => string): NewVolume[] {
  const attached = vmDisks(reader, vm.id)
  throwIfShared(reader, attached, 'templates')
  return attached.map(({ diskId }) => {
    const { storageDomainId, capacity, volumeId, status } = diskOf(reader, diskId)
    if (status !== 'ok') throw new Fault('WRONG_STATE', `disk ${diskId} is ${status}`)
    roomyDomain(reader, storageDomainId)
    return {
      ...{ diskId: newId(), volumeId: newId(), storageDomainId, capacity: bytes(capacity) },
      ...{ format: 'qcow2', allocation: 'thin', description: `disk of ${name}`, isTemplate: true },
      source: { kind: 'copy', storageDomainId, imageId: diskId, volumeId }
    }
  })
}
