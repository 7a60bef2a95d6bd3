import type { Place, Volumes } from './storage-domain.js'

// The few fields of a qcow2 header that decide what to do next. Whether an image may be used at all is the
// inspector's question; here it is one of our own.

/** What a guest would see, in bytes; 0 of anything that is no qcow2 image. */
export async function virtualSize(volumes: Volumes, place: Place): Promise<number> {
  const head = await headOf(volumes, place)
  return head === null ? 0 : Number(head.readBigUInt64BE(24))
}

/** The base name of the backing file; null for none. */
export async function backingOf(volumes: Volumes, place: Place): Promise<string | null> {
  const head = await headOf(volumes, place)
  if (head === null) return null
  const offset = Number(head.readBigUInt64BE(8))
  const length = head.readUInt32BE(16)
  if (offset === 0 || length === 0 || length > 1023 || offset + length > head.length) return null
  return (
    head
      .toString('utf8', offset, offset + length)
      .split('/')
      .at(-1) ?? null
  )
}

async function headOf(volumes: Volumes, place: Place): Promise<Buffer | null> {
  await using file = await volumes.openData(place)
  const head = await file.read(0n, 65_536)
  return head.length < 72 || head.toString('latin1', 0, 4) !== 'QFI\xfb' ? null : head
}
