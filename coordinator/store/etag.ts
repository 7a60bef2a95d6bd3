import { Fault } from '../../common/fault.js'

/** What a client gives back to say which state of an object its change was made for. */
export const etagOf = ({ version }: { version: number }) => String(version)

/** An empty etag asks for no check. */
export function throwIfStaleEtag(etag: string, object: { version: number }, what: string): void {
  if (etag === '' || etag === etagOf(object)) return
  throw new Fault('STALE_ETAG', `${what} was changed meanwhile`, { facts: { etag: etagOf(object) } })
}
