const initial = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]

const rotate = (word: number, by: number) => (word << by) | (word >>> (32 - by))

/** SHA-1 in lower-case hexadecimal. The seal of the format, not a protection: it finds accidents only. */
export function sha1(message: Buffer): string {
  const padded = pad(message)
  const state = [...initial]
  for (let at = 0; at < padded.length; at += 64) mix(state, padded.subarray(at, at + 64))
  return state.map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

function pad(message: Buffer): Buffer {
  const padded = Buffer.alloc(Math.ceil((message.length + 9) / 64) * 64)
  message.copy(padded)
  padded[message.length] = 0x80
  padded.writeBigUInt64BE(BigInt(message.length) * 8n, padded.length - 8)
  return padded
}

function mix(state: number[], chunk: Buffer): void {
  const words = new Int32Array(80)
  for (let i = 0; i < 16; i++) words[i] = chunk.readInt32BE(i * 4)
  for (let i = 16; i < 80; i++) {
    const before = (back: number) => words[i - back] ?? 0
    words[i] = rotate(before(3) ^ before(8) ^ before(14) ^ before(16), 1)
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0] = state
  for (let i = 0; i < 80; i++) {
    const [choice, constant] = round(i, b, c, d)
    const next = (rotate(a, 5) + choice + e + constant + (words[i] ?? 0)) | 0
    e = d
    d = c
    c = rotate(b, 30)
    b = a
    a = next
  }
  for (const [i, word] of [a, b, c, d, e].entries()) state[i] = ((state[i] ?? 0) + word) | 0
}

function round(i: number, b: number, c: number, d: number): [choice: number, constant: number] {
  if (i < 20) return [(b & c) | (~b & d), 0x5a827999]
  if (i < 40) return [b ^ c ^ d, 0x6ed9eba1]
  if (i < 60) return [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
  return [b ^ c ^ d, 0xca62c1d6]
}
