import type { Json } from './json.js'

/** What the operator stated beside the bytes, where they do not say it themselves. */
export type KindOptions = {
  alignment: number | null
  sectorSize: 512 | 4096 | null
  /** Show everything that is needed to make the same bytes again, where the plain view leaves something out. */
  full?: boolean
}

/** One structure of the storage format, as `drover-agent format` shows and makes it. */
export type Kind = {
  name: string
  about: string
  /** JSON for a file's bytes, or for a JSON file of worked examples the same with every result recomputed. */
  decode(bytes: Buffer, options: KindOptions): Json
  /** Bytes for binary structures, JSON for worked examples. */
  encode(json: Json, options: KindOptions): Buffer | Json
}
