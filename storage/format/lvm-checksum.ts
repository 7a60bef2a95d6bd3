// LVM's checksum: CRC-32 with the usual polynomial, its own initial value, and no inversion at the end.

const initial = 0xf597a6cf

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1
  return crc
})

export function lvmChecksum(bytes: Buffer): number {
  let crc = initial
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)
  return crc >>> 0
}
