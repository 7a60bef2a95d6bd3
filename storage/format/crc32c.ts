const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++)
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1
  return remainder >>> 0
})

/** CRC-32C (Castagnoli, reflected) the way sanlock uses it: an unusual start value and no final inversion. */
export function sanlockChecksum(bytes: Buffer): number {
  let crc = 0xfffffffe
  for (const byte of bytes) crc = ((table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)) >>> 0
  return crc
}
