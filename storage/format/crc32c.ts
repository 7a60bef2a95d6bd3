const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0x82f63b78 : rest >>> 1
  return rest >>> 0
})

/** The remainder of CRC-32C (Castagnoli, reflected), for going on with: no inversion before or after. */
export function crc32cRemainder(bytes: Buffer, start: number): number {
  let crc = start
  for (const byte of bytes) crc = ((table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)) >>> 0
  return crc
}

/** CRC-32C as it is commonly used. */
export const crc32c = (bytes: Buffer): number => ~crc32cRemainder(bytes, 0xffffffff) >>> 0

/** CRC-32C the way sanlock uses it: an unusual start value and no final inversion. */
export const sanlockChecksum = (bytes: Buffer): number => crc32cRemainder(bytes, 0xfffffffe)
