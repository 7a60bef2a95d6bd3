import type { Clock } from '../../common/clock.js'
import type { CertificateIdentity } from '../../common/identity.js'
import { denyList, type DenyList } from '../store/certificates.js'
import type { Reader } from '../store/query.js'

/** Whom the coordinator itself refuses; asked at every call, so it is kept in memory. */
export class Denied {
  readonly #clock: Clock
  #serials: ReadonlySet<string> = new Set()
  #hostIds: ReadonlySet<string> = new Set()
  #list: DenyList = { serials: [], hostIds: [] }
  #listeners = new Set<(list: DenyList) => void>()

  constructor(reader: Reader, clock: Clock) {
    this.#clock = clock
    this.#take(denyList(reader, clock.wall()))
  }

  get list(): DenyList {
    return this.#list
  }

  denies({ serial, role, id }: CertificateIdentity): boolean {
    return this.#serials.has(serial) || (role === 'HOST' && this.#hostIds.has(id))
  }

  /** After something was revoked, or allowed again: everybody who must know is told. */
  refresh(reader: Reader): void {
    this.#take(denyList(reader, this.#clock.wall()))
    for (const listener of this.#listeners) listener(this.#list)
  }

  onChange(listener: (list: DenyList) => void): void {
    this.#listeners.add(listener)
  }

  #take(list: DenyList): void {
    this.#list = list
    this.#serials = new Set(list.serials)
    this.#hostIds = new Set(list.hostIds)
  }
}
