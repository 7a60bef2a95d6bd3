import { readIfThere, writeDurably } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import type { CertificateIdentity } from '../common/identity.js'
import { ruleAfter, type Rule } from './gate.js'

export type Peer = {
  hostId: string
  address: string
  /** Absent where an earlier version wrote it down. */
  sanlockHostId?: number
}

/** Who this host is, who rules it and whom it knows. Written whole at every change: identity.json. */
export type Identity = {
  installationId: string | null
  hostId: string | null
  hostGeneration: number
  coordinatorEpoch: number
  /** Which life of a coordinator has that epoch. Absent in files of earlier versions. */
  coordinatorIncarnation: string
  /** Number of this host in sanlock lockspaces; 0 before the first Welcome. */
  sanlockHostId: number
  /** Where this host said that it listens. */
  address: string
  peers: Peer[]
  deniedSerials: string[]
  deniedHostIds: string[]
}

const unknown: Identity = {
  installationId: null,
  hostId: null,
  hostGeneration: 0,
  coordinatorEpoch: 0,
  coordinatorIncarnation: '',
  sanlockHostId: 0,
  address: '',
  peers: [],
  deniedSerials: [],
  deniedHostIds: []
}

export class IdentityFile {
  readonly #path: string
  #identity: Identity
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, identity: Identity) {
    this.#path = path
    this.#identity = identity
  }

  static async load(path: string): Promise<IdentityFile> {
    return new IdentityFile(path, await read(path))
  }

  /** After another program (`drover-agent enrol`) has written it. */
  async reload(): Promise<void> {
    await this.#writing.catch(() => {})
    this.#identity = await read(this.#path)
  }

  get now(): Identity {
    return this.#identity
  }

  rule(): Rule {
    return this.#identity
  }

  /** Another host by its number in lockspaces; null for this one and for strangers. */
  hostIdOf(sanlockHostId: number): string | null {
    if (sanlockHostId === this.now.sanlockHostId) return null
    return this.now.peers.find(peer => peer.sanlockHostId === sanlockHostId)?.hostId ?? null
  }

  /** The one who holds this host's certificate. */
  enrolled(): { hostId: string; installationId: string } {
    const { hostId, installationId } = this.#identity
    if (hostId === null || installationId === null)
      throw new Fault('NOT_ENROLLED', 'this host is not enrolled')
    return { hostId, installationId }
  }

  denies({ serial, role, id }: CertificateIdentity): boolean {
    const { deniedSerials, deniedHostIds } = this.#identity
    return deniedSerials.includes(serial) || (role === 'HOST' && deniedHostIds.includes(id))
  }

  peer(hostId: string): Peer {
    const peer = this.#identity.peers.find(known => known.hostId === hostId)
    if (!peer) throw new Fault('NOT_FOUND', `this host knows no host ${hostId}`, { facts: { host: hostId } })
    return peer
  }

  /** In memory and on disk before it returns. A deny list counts even while the disk is full. */
  async change(change: Partial<Identity>): Promise<void> {
    this.#identity = { ...this.#identity, ...change }
    this.#writing = this.#writing.then(
      () => this.#write(),
      () => this.#write()
    )
    await this.#writing
  }

  /** Before the first command of a new epoch has an effect. */
  async rememberEpoch(epoch: number, incarnation = ''): Promise<void> {
    const after = ruleAfter(this.#identity, epoch, incarnation)
    if (after === this.#identity) return
    const { coordinatorEpoch, coordinatorIncarnation } = after
    await this.change({ coordinatorEpoch, coordinatorIncarnation })
  }

  async #write(): Promise<void> {
    try {
      await writeDurably(this.#path, `${JSON.stringify(this.#identity, null, 2)}\n`)
    } catch (error) {
      throw new Fault('STORE_FULL', 'the identity of the agent cannot be written', { cause: error })
    }
  }
}

async function read(path: string): Promise<Identity> {
  const text = await readIfThere(path)
  return text === null ? unknown : { ...unknown, ...(JSON.parse(text) as Identity) }
}
