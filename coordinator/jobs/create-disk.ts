import { deleteDiskRow, updateDisk } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, heirOf, hostOf, type OnAHost } from './storage-host.js'
import { createVolumes, takeBackVolumes, type NewVolume } from './volumes.js'
import type { JobWorld } from './world.js'

export type CreateDisk = OnAHost & { volume: NewVolume }

/** An empty disk, or the copy of one: they differ in where the content comes from. */
export const createDisk = (world: JobWorld) => newDisk(world, 'disk.create')
export const copyDisk = (world: JobWorld) => newDisk(world, 'disk.copy', 4)

function newDisk(world: JobWorld, kind: string, atOnce = 16): JobTable<CreateDisk, Tx> {
  const { hosts } = world
  return {
    kind,
    atOnce,
    steps: [
      {
        name: 'reserve',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { volume }) => deleteDiskRow(tx, volume.diskId)
      },
      chooseStorageHost(domainsOf),
      {
        name: 'createVolume',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => createVolumes(hosts, act, hostOf(act.context), [act.context.volume]),
        undo: async act => {
          const heir = heirOf(world, act.context, domainsOf(act.context))
          await takeBackVolumes(hosts, act, heir, [act.context.volume])
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { volume }) => updateDisk(tx, volume.diskId, { status: 'ok' })
      }
    ]
  }
}

function domainsOf({ volume: { storageDomainId, source } }: Readonly<CreateDisk>): string[] {
  const from = source.kind === 'copy' ? [source.storageDomainId] : []
  return [...new Set([storageDomainId, ...from])]
}
