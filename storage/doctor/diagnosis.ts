/** What can be done about something that is wrong. Each is one small act that may be repeated. */
export type RepairKind =
  /** What the sweep of an activation does too: half-made volumes, removed images, roles, tags, merges cut off. */
  | 'sweep'
  /** A copy or an import that nobody carries on with. */
  | 'removeUnfinished'
  /** An illegal volume whose data is as its record says. */
  | 'makeLegal'
  /** A record that names another parent than the data does. */
  | 'correctParent'
  /** A record that says another size than the data has. */
  | 'correctCapacity'
  /** A raw volume with less room than its capacity. */
  | 'grow'
  | 'writeVolumeLease'
  /** The lease of a VM that does not exist. */
  | 'removeVmLease'
  | 'rebuildVmLeases'
  /** A logical volume that says nothing of what it is. */
  | 'removeOrphan'

export type Diagnosis = {
  /** Null where only a person can decide. */
  kind: RepairKind | null
  /** The volume, image, lease or storage domain. */
  object: string
  /** Its image; empty where it has none. */
  imageId: string
  /** What is wrong, in words. */
  text: string
  /** What would be done, in words; why nothing can be done where kind is null. */
  plan: string
}

/** What unfinished work or a running VM owns is in progress, not broken; and which leases somebody wants. */
export type DoctorScope = {
  intents: string[]
  /** The VMs whose leases are wanted; null where nobody knows. */
  vmIds: string[] | null
}

export type RepairWanted = Pick<Diagnosis, 'object'> & { kind: RepairKind }
export type Repaired = {
  done: string[]
  /** What did not work, with its reason. */
  failed: string[]
  /** What is still wrong. */
  left: Diagnosis[]
}

const person = 'a person has to look at it'

export const unrepaired = (object: string, imageId: string, text: string, plan = person): Diagnosis => ({
  ...{ kind: null, object, imageId, text, plan }
})
