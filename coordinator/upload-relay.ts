import { createHash } from 'node:crypto'
import { Fault } from '../common/fault.js'
import type { Bytes } from '../common/units.js'

export type ImportOpening<Opening> = { open: Opening } | { data: Buffer }
export type Received = { size: Bytes; sha256: string }

/** The opening of an upload and the bytes after it; anything else in the stream is refused. */
export async function splitUpload<Opening>(
  messages: AsyncIterable<ImportOpening<Opening>>
): Promise<{ opening: Opening; chunks: AsyncGenerator<Buffer> }> {
  const incoming = messages[Symbol.asyncIterator]()
  const first = await incoming.next()
  if (first.done || !('open' in first.value)) throw wrong('open', 'must be in the first message')
  return { opening: first.value.open, chunks: onlyData(incoming) }
}

async function* onlyData<Opening>(messages: AsyncIterator<ImportOpening<Opening>>): AsyncGenerator<Buffer> {
  for (let next = await messages.next(); !next.done; next = await messages.next()) {
    if ('open' in next.value) throw wrong('open', 'must be in the first message only')
    yield next.value.data
  }
}

/**
 * Counts and digests bytes on their way. A stream that brings more or less than was announced fails here,
 * before the host publishes anything; one with another digest fails at its end.
 */
export async function* measured(
  chunks: AsyncIterable<Buffer>,
  announced: { size: Bytes; sha256: string },
  progress: (received: number) => void
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256')
  let received = 0
  for await (const chunk of chunks) {
    received += chunk.length
    if (received > announced.size) throw wrong('open.size', `is ${announced.size}, and more bytes came`)
    hash.update(chunk)
    progress(received)
    yield chunk
  }
  if (received < announced.size) {
    throw wrong('open.size', `is ${announced.size}, and only ${received} bytes came`)
  }
  const sha256 = hash.digest('hex')
  if (announced.sha256 !== '' && announced.sha256 !== sha256) {
    throw wrong('open.sha256', `is not that of the bytes, which is ${sha256}`)
  }
}

const wrong = (field: string, description: string) =>
  new Fault('INVALID_REQUEST', `${field} ${description}`, { violations: [{ field, description }] })
