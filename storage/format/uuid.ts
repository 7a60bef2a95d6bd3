/** "No parent", and "not attached" in POOL_UUID. */
export const blankId = '00000000-0000-0000-0000-000000000000'

/** Lower case with dashes, as every id on storage is written. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
}

/** The 16 bytes in the order of the text. */
export function uuidBytes(id: string): Buffer {
  return Buffer.from(id.replaceAll('-', ''), 'hex')
}

/** The text of 16 bytes in the order of the text. */
export function uuidText(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
