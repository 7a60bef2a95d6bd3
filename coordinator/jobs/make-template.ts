import { agentServices } from '../../proto/load.js'
import { deleteDiskRow, updateDisk, updateVolume } from '../store/disks.js'
import { bit, type Tx } from '../store/query.js'
import { deleteTemplateRow, updateTemplate } from '../store/templates.js'
import { eachOf, endTasks, performTask, type Asking } from './hosts.js'
import type { JobTable } from './job.js'
import { removeDisks } from './remove-disks.js'
import { chooseStorageHost, heirOf, hostOf, type OnAHost } from './storage-host.js'
import { createVolumes, takeBackVolumes, type ImageOnDomain, type NewVolume } from './volumes.js'
import type { JobWorld } from './world.js'

export type SharedDisk = { diskId: string; volumeId: string; storageDomainId: string }

export type CreateTemplate = OnAHost & {
  templateId: string
  /** Disks that become the template's as they are. */
  shared: SharedDisk[]
  /** Disks that are copied from a VM's. */
  copies: NewVolume[]
}

/**
 * Out of disks without copying, or out of copies of a VM's disks. Sharing a volume cannot be taken back, so
 * from the first one on the job is only ever finished; copies come before, and can.
 */
export function createTemplate(world: JobWorld): JobTable<CreateTemplate, Tx> {
  const { hosts } = world
  return {
    kind: 'template.create',
    steps: [
      {
        name: 'reserve',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { templateId, copies }) => {
          deleteTemplateRow(tx, templateId)
          for (const { diskId } of copies) deleteDiskRow(tx, diskId)
        }
      },
      chooseStorageHost(domainsOf),
      {
        name: 'copyVolumes',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { copies } = act.context
          if (copies.length > 0) await createVolumes(hosts, act, hostOf(act.context), copies)
        },
        undo: async act => {
          const { copies } = act.context
          if (copies.length === 0) return
          await takeBackVolumes(hosts, act, heirOf(world, act.context, domainsOf(act.context)), copies)
        }
      },
      {
        name: 'shareFirst',
        host: ({ hostId }) => hostId,
        pointOfNoReturn: true,
        run: async act => share(world, act, act.context, act.context.shared.slice(0, 1)),
        undo: async act => {
          const [first] = act.context.shared
          if (first) await endTasks(hosts, act, hostOf(act.context), first.diskId)
        }
      },
      {
        name: 'shareOthers',
        host: ({ hostId }) => hostId,
        run: async act => share(world, act, act.context, act.context.shared.slice(1))
      },
      {
        name: 'publish',
        weight: 0,
        commit: (tx, { templateId, shared, copies }) => {
          for (const { volumeId } of [...shared, ...copies])
            updateVolume(tx, volumeId, { isShared: bit(true) })
          for (const { diskId } of copies) updateDisk(tx, diskId, { status: 'ok' })
          updateTemplate(tx, templateId, { status: 'ok' })
        }
      }
    ]
  }
}

async function share(
  world: JobWorld,
  act: Asking,
  context: Readonly<CreateTemplate>,
  disks: readonly SharedDisk[]
): Promise<void> {
  if (disks.length === 0) return
  const heir = heirOf(world, context, domainsOf(context))
  await eachOf(disks, 4, async ({ diskId, volumeId, storageDomainId }) => {
    const request = { storageDomainId, imageId: diskId, volumeId }
    await performTask(world.hosts, act, heir, agentServices.storage.ShareVolume, request, diskId)
  })
}

function domainsOf({ shared, copies }: Readonly<CreateTemplate>): string[] {
  const sources = copies.flatMap(({ source }) => (source.kind === 'copy' ? [source.storageDomainId] : []))
  return [...new Set([...shared, ...copies].map(({ storageDomainId }) => storageDomainId).concat(sources))]
}

export type DeleteTemplate = OnAHost & { templateId: string; disks: ImageOnDomain[] }

/** Only ever finished, as all removals. */
export function deleteTemplate(world: JobWorld): JobTable<DeleteTemplate, Tx> {
  const domains = ({ disks }: Readonly<DeleteTemplate>) => [
    ...new Set(disks.map(({ storageDomainId }) => storageDomainId))
  ]
  return {
    kind: 'template.delete',
    steps: [
      chooseStorageHost(domains),
      {
        name: 'condemn',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { templateId, disks }) => {
          updateTemplate(tx, templateId, { status: 'removing' })
          for (const { diskId } of disks) updateDisk(tx, diskId, { status: 'removing' })
        }
      },
      removeDisks(world, domains),
      {
        name: 'forget',
        weight: 0,
        commit: (tx, { templateId, disks }) => {
          deleteTemplateRow(tx, templateId)
          for (const { diskId } of disks) deleteDiskRow(tx, diskId)
        }
      }
    ]
  }
}
