import type { VolumeMetadata, VolumeRole } from './format/volume-metadata.js'

// The order and legality of a backing chain, from volume metadata alone. A chain is listed leaf first. Its
// last member may be a template's volume, which belongs to another image and is never written.

/** qemu opens chains recursively; deeper ones are refused before it has to. */
export const deepestChain = 65

export type ChainVolume = { volumeId: string; metadata: VolumeMetadata }

export type ChainRule =
  | 'noLeaf' // the image has no leaf: half made, or to be rechecked
  | 'severalLeaves'
  | 'cycle' // a parent seen twice
  | 'missingParent'
  | 'tooDeep'
  | 'illegal' // a volume that must not be used until it is repaired
  | 'wrongRole' // an inner volume that says it is a leaf, or the like
  | 'rawOverParent' // only the base may be raw
  | 'sharedOverParent' // a template's volume has no parent
  | 'otherImage'
  | 'otherStorageDomain'
  | 'smallerThanParent'

export type ChainProblem = { rule: ChainRule; volumeId: string | null; text: string }

export type Chain = {
  imageId: string
  /** Leaf first, the template's volume (if any) last. */
  volumes: ChainVolume[]
  templateId: string | null
  /** Volumes of the image that are no part of the chain: left over from an operation that was cut off. */
  leftovers: string[]
}

export type ChainReading = { kind: 'whole'; chain: Chain } | { kind: 'broken'; problems: ChainProblem[] }

/**
 * Reads the chain of an image. `volumes` are all volumes that the image's own and its template's metadata
 * name. Nothing is repaired here; the first volume that cannot be followed ends the walk.
 */
export function readChain(imageId: string, volumes: ReadonlyMap<string, VolumeMetadata>): ChainReading {
  const leaf = findLeaf(imageId, volumes)
  if ('rule' in leaf) return { kind: 'broken', problems: [leaf] }
  const walk = follow(leaf, volumes)
  if ('rule' in walk) return { kind: 'broken', problems: [walk] }
  const problems = objections(imageId, walk)
  if (problems.length > 0) return { kind: 'broken', problems }
  return { kind: 'whole', chain: describe(imageId, walk, volumes) }
}

/** A template's image is its one shared volume. Otherwise the leaf is what no other volume has as its parent. */
function findLeaf(imageId: string, volumes: ReadonlyMap<string, VolumeMetadata>): ChainVolume | ChainProblem {
  const own = [...volumes].filter(([, metadata]) => metadata.imageId === imageId)
  const [single] = own
  if (single !== undefined && own.length === 1 && single[1].role === 'shared') return toVolume(single)

  const leaves = own.filter(([id, { role }]) => role === 'leaf' && childrenOf(id, volumes).length === 0)
  const legal = leaves.filter(([, { legality }]) => legality === 'legal')
  // A deletion that was cut off leaves an illegal leaf beside the real one.
  const candidates = leaves.length > 1 ? legal : leaves
  const [leaf] = candidates
  if (leaf !== undefined && candidates.length === 1) return toVolume(leaf)
  const names = leaves.map(([id]) => id).join(', ')
  return leaves.length === 0
    ? { rule: 'noLeaf', volumeId: null, text: `image ${imageId} has no leaf` }
    : { rule: 'severalLeaves', volumeId: null, text: `image ${imageId} has several leaves: ${names}` }
}

const toVolume = ([volumeId, metadata]: [string, VolumeMetadata]): ChainVolume => ({ volumeId, metadata })

function follow(
  leaf: ChainVolume,
  volumes: ReadonlyMap<string, VolumeMetadata>
): ChainVolume[] | ChainProblem {
  const chain = [leaf]
  const seen = new Set([leaf.volumeId])
  for (let current = leaf; ;) {
    const { parentId } = current.metadata
    if (parentId === null) return chain
    const text = (what: string) => `volume ${current.volumeId} has ${parentId} as its parent, ${what}`
    if (seen.has(parentId)) {
      return { rule: 'cycle', volumeId: current.volumeId, text: text('which is above it already') }
    }
    const metadata = volumes.get(parentId)
    if (metadata === undefined) {
      return { rule: 'missingParent', volumeId: current.volumeId, text: text('which does not exist') }
    }
    if (chain.length === deepestChain) {
      return {
        rule: 'tooDeep',
        volumeId: leaf.volumeId,
        text: `the chain has more than ${deepestChain} volumes`
      }
    }
    current = { volumeId: parentId, metadata }
    chain.push(current)
    seen.add(parentId)
  }
}

function objections(imageId: string, chain: ChainVolume[]): ChainProblem[] {
  const problems: ChainProblem[] = []
  for (const [i, { volumeId, metadata }] of chain.entries()) {
    const object = (rule: ChainRule, why: string) =>
      problems.push({ rule, volumeId, text: `volume ${volumeId} ${why}` })
    const child = chain[i - 1]
    if (metadata.legality !== 'legal') object('illegal', `is ${metadata.legality}`)
    if (metadata.role === 'shared') {
      if (metadata.parentId !== null) object('sharedOverParent', 'is shared and has a parent')
    } else {
      if (metadata.imageId !== imageId) object('otherImage', `belongs to image ${metadata.imageId}`)
      const wanted = roleOf(metadata, child !== undefined)
      if (metadata.role !== wanted) object('wrongRole', `is ${metadata.role}, not ${wanted}`)
    }
    if (metadata.parentId !== null && metadata.format === 'raw')
      object('rawOverParent', 'is raw and has a parent')
    if (metadata.storageDomainId !== chain[0]?.metadata.storageDomainId) {
      object('otherStorageDomain', `belongs to storage domain ${metadata.storageDomainId}`)
    }
    // 0 stands for "being resized" and is repaired from the image's header.
    const above = child?.metadata.capacity ?? 0
    if (above > 0 && above < metadata.capacity)
      object('smallerThanParent', 'is larger than the volume above it')
  }
  return problems
}

function describe(
  imageId: string,
  chain: ChainVolume[],
  volumes: ReadonlyMap<string, VolumeMetadata>
): Chain {
  const base = chain.at(-1)
  const isTemplate = base?.metadata.role === 'shared' && base.metadata.imageId !== imageId
  const used = new Set(chain.map(({ volumeId }) => volumeId))
  const own = [...volumes].filter(([, metadata]) => metadata.imageId === imageId).map(([id]) => id)
  return {
    imageId,
    volumes: chain,
    templateId: isTemplate ? base.volumeId : null,
    leftovers: own.filter(id => !used.has(id))
  }
}

export function childrenOf(volumeId: string, volumes: ReadonlyMap<string, VolumeMetadata>): string[] {
  return [...volumes].filter(([, { parentId }]) => parentId === volumeId).map(([id]) => id)
}

/** The role a volume ought to have; a template's volume keeps its own. */
export function roleOf(metadata: VolumeMetadata, hasChildren: boolean): VolumeRole {
  if (metadata.role === 'shared') return 'shared'
  return hasChildren ? 'internal' : 'leaf'
}
