/** What a reader of on-disk bytes can object to. The words travel in facts and in `drover-agent format` output. */
export type FormatReason =
  | 'sealBroken' // the checksum of storage domain metadata does not match
  | 'invalid' // a field cannot be understood
  | 'missing' // a required field is not there
  | 'cleared' // the block was cleared by an old version
  | 'overflow' // does not fit into its place
  | 'truncated' // fewer bytes than the structure has
  | 'updating' // an index that was being rewritten when its writer died
  | 'exists' // a lease of that id is already there
  | 'noSpace' // no free slot or record
  | 'notFound' // no lease of that id

/** Bytes on shared storage, or values meant for it, that break a rule of format V5. */
export class FormatError extends Error {
  override readonly name = 'FormatError'
  readonly reason: FormatReason
  /** Where in the structure, in bytes from its start; null when no single place is to blame. */
  readonly offset: number | null

  constructor(reason: FormatReason, message: string, offset: number | null = null) {
    super(offset === null ? message : `${message} (at byte ${offset})`)
    this.reason = reason
    this.offset = offset
  }
}
