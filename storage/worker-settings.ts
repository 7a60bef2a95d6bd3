import { z } from 'zod'

// What the main process tells a worker in its only argument.
const settings = z.object({
  /** Null: a worker that only looks for storage domains in its directory. */
  storageDomainId: z.string().nullable(),
  /** The mounted directory that holds the storage domain's own. */
  mount: z.string(),
  /** The devices of a block storage domain, under stable names; absent for one of files. */
  devices: z.array(z.string()).optional(),
  /** Whether the server may take root for nobody: then the worker is the owner of the files (storage-user.ts). */
  asOwner: z.boolean().optional(),
  /** Where links are made: /run/drover. */
  runDirectory: z.string(),
  /** The only directory from which files are imported; null forbids it. */
  importDirectory: z.string().nullable(),
  /** Where uploads for a block storage domain wait: on the host's own disk. Absent: it takes none. */
  uploadDirectory: z.string().optional(),
  /** What a new thin volume on block storage begins with, in MiB; absent: 2560, as with oVirt. */
  thinInitialMib: z.number().optional(),
  /** Whom new files belong to; null leaves them to the process. */
  owner: z.object({ uid: z.number(), gid: z.number() }).nullable(),
  sanlock: z.object({ mode: z.enum(['daemon', 'direct']), runDirectory: z.string().nullable() }),
  logLevel: z.string()
})

/** Where a storage domain is: in a mounted directory, or on devices. */
export type StoragePlace = { mount: string; devices?: string[]; asOwner?: boolean }

export type WorkerSettings = z.infer<typeof settings>

export const parseWorkerSettings = (text: string): WorkerSettings => settings.parse(JSON.parse(text))
