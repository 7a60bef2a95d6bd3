import { createHash } from 'node:crypto'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { bytes } from '../../common/units.js'
import { relayConsole, type ConsoleMessage, type HostConsole } from '../../coordinator/console-relay.js'
import { measured, splitUpload } from '../../coordinator/upload-relay.js'

const open = { vmId: 'vm1', kind: 'serial', force: false } as const
const untilLeft = () => new Promise(() => {})
const live = () => new AbortController().signal

async function* from<T>(...items: T[]): AsyncGenerator<T> {
  yield* items
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of source) found.push(item)
  return found
}

/** A guest that repeats what is typed, and hangs up after that. */
const echo: HostConsole = async function* (hostId, { vmId }, typed) {
  yield Buffer.from(`${hostId}/${vmId}:`)
  for await (const chunk of typed) yield chunk
}

const reasonOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof Fault ? error.reason : String(error))
  )

/** Fails as a request that is wrong. */
const refused = async (t: { match(found: unknown, wanted: object): unknown }, work: Promise<unknown>) => {
  const error = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason
  )
  t.match(error, { reason: 'INVALID_REQUEST' })
}

const relay = (messages: AsyncIterable<ConsoleMessage>, console = echo) =>
  relayConsole(messages, { hostOf: () => 'host1', untilLeft }, console, live())

t.test('a console ends when the VM leaves its host, also when that host says nothing any more', async t => {
  const mute: HostConsole = async function* (_, __, ___, signal) {
    yield Buffer.from('.')
    signal.throwIfAborted()
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  }
  const where = { hostOf: () => 'host1', untilLeft: async () => {} }
  t.equal(
    await reasonOf(all(relayConsole(from<ConsoleMessage>({ open }), where, mute, live()))),
    'INTERRUPTED'
  )
})

t.test('a console reaches the host that runs the VM, and comes back', async t => {
  const out = await all(relay(from<ConsoleMessage>({ open }, { data: Buffer.from('ls\n') })))
  t.equal(Buffer.concat(out).toString(), 'host1/vm1:ls\n')
})

t.test('a console must be opened, and once', async t => {
  t.equal(await reasonOf(all(relay(from({ data: Buffer.from('x') })))), 'INVALID_REQUEST')
  t.equal(await reasonOf(all(relay(from()))), 'INVALID_REQUEST')
  t.equal(await reasonOf(all(relay(from({ open }, { open })))), 'INVALID_REQUEST')
})

t.test('when the caller leaves, the host is told', async t => {
  let told = false
  const endless: HostConsole = async function* (_, __, ___, signal) {
    signal.addEventListener('abort', () => (told = true))
    for (;;) yield Buffer.from('.')
  }
  for await (const chunk of relay(from({ open }), endless)) if (chunk.length > 0) break
  t.ok(told)
})

t.test('nothing is read from the caller before the host takes it', async t => {
  let read = 0
  async function* caller(): AsyncGenerator<ConsoleMessage> {
    yield { open }
    for (; read < 1000; read++) yield { data: Buffer.alloc(1) }
  }
  const slow: HostConsole = async function* (_, __, typed) {
    for await (const chunk of typed) {
      yield chunk
      return
    }
  }
  await all(relay(caller(), slow))
  t.ok(read <= 1, `read ${read}`)
})

const sha256 = createHash('sha256').update('abcdef').digest('hex')
const upload = (announced: { size: number; sha256: string }, ...chunks: string[]) =>
  all(
    measured(
      from(...chunks.map(chunk => Buffer.from(chunk))),
      { ...announced, size: bytes(announced.size) },
      () => {}
    )
  )

t.test('an upload passes when its size and digest are as announced', async t => {
  t.equal(Buffer.concat(await upload({ size: 6, sha256 }, 'abc', 'def')).toString(), 'abcdef')
  t.equal((await upload({ size: 3, sha256: '' }, 'abc')).length, 1)
})

t.test('an upload that is longer, shorter or other than announced is refused', async t => {
  t.equal(await reasonOf(upload({ size: 5, sha256: '' }, 'abc', 'def')), 'INVALID_REQUEST')
  t.equal(await reasonOf(upload({ size: 7, sha256: '' }, 'abc', 'def')), 'INVALID_REQUEST')
  t.equal(await reasonOf(upload({ size: 6, sha256 }, 'abc', 'xxx')), 'INVALID_REQUEST')
})

t.test('an upload is opened by its first message only', async t => {
  t.equal(await reasonOf(splitUpload(from({ data: Buffer.from('x') }))), 'INVALID_REQUEST')
  const { opening, chunks } = await splitUpload(
    from({ open: 'it' }, { data: Buffer.from('x') }, { open: 'again' })
  )
  t.equal(opening, 'it')
  t.equal(await reasonOf(all(chunks)), 'INVALID_REQUEST')
})
