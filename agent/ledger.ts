import { open, readFile, rename, type FileHandle } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Clock } from '../common/clock.js'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'

/*
 * What this agent was asked and what it answered: one line of JSON for each beginning, end and
 * acknowledgement, appended and fsynced before anybody relies on it. Many lines that come together share one
 * fsync. A torn last line is a request that was never accepted.
 */

export type Answer = { ok: true; value: unknown } | { ok: false; fault: Fault }
export type Beginning = {
  id: string
  digest: string
  /** Method that began it, for example "VmService.StartVm". */
  kind: string
  objects: Record<string, string>
  /** Epoch of the coordinator; 0 from the local administrator. */
  epoch: number
  isTask: boolean
}
export type Entry = Beginning & {
  begun: number
  ended: number | null
  answer: Answer | null
  isAcknowledged: boolean
}

type Line =
  | ({ at: number } & Beginning)
  | { at: number; id: string; value: unknown }
  | { at: number; id: string; fault: unknown }
  | { at: number; acknowledged: string[] }

const day = 24 * 60 * 60 * 1000
const compactAt = 64 * 2 ** 20

export class Ledger {
  readonly #path: string
  readonly #clock: Clock
  readonly #log: Logger
  readonly #most: number
  readonly #entries = new Map<string, Entry>()
  #file: FileHandle | null = null
  #size = 0
  #compactedSize = 0
  #pending: Array<{ text: string; resolve: () => void; reject: (why: Error) => void }> = []
  #writing: Promise<void> | null = null

  private constructor(path: string, clock: Clock, log: Logger, most: number) {
    this.#path = path
    this.#clock = clock
    this.#log = log
    this.#most = most
  }

  /** Reads what is there and rewrites it without what nobody needs any more. */
  static async open(path: string, clock: Clock, log: Logger, most = 100_000): Promise<Ledger> {
    const ledger = new Ledger(path, clock, log, most)
    await ledger.#load()
    return ledger
  }

  find(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  /** Oldest first. */
  entries(): Entry[] {
    return [...this.#entries.values()]
  }

  async begin(beginning: Beginning): Promise<void> {
    if (this.#entries.size >= this.#most) this.#prune()
    if (this.#entries.size >= this.#most) {
      throw new Fault(
        'LIMIT',
        `the agent remembers ${this.#most} requests; acknowledge tasks that have ended`
      )
    }
    const at = this.#clock.wall()
    await this.#append({ at, ...beginning })
    this.#apply({ at, ...beginning })
  }

  /** The answer counts from the moment it is known: one that cannot be written now is written later. */
  async finish(id: string, answer: Answer): Promise<void> {
    const at = this.#clock.wall()
    const line: Line = answer.ok ? { at, id, value: answer.value } : { at, id, fault: answer.fault }
    this.#apply(line)
    try {
      await this.#append(line)
    } catch (error) {
      this.#log.error({ err: error, id }, 'an answer could not be written; a restart would ask again')
    }
  }

  /** Ended tasks that the coordinator knows about may be forgotten once they are a day old. */
  async acknowledge(ids: string[]): Promise<void> {
    const ended = ids.filter(id => this.find(id)?.answer)
    if (ended.length === 0) return
    const line = { at: this.#clock.wall(), acknowledged: ended }
    await this.#append(line)
    this.#apply(line)
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#file?.close()
    this.#file = null
  }

  async #load(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    for (const line of whole.split('\n')) {
      if (line !== '') this.#readLine(line)
    }
    this.#prune()
    try {
      await this.#compact()
    } catch (error) {
      // A full disk: what is there stays, and is appended to when there is space again.
      this.#log.error({ err: error }, 'ledger not compacted')
      this.#file = await open(this.#path, 'a+', 0o600)
      this.#size = Buffer.byteLength(whole)
      await this.#file.truncate(this.#size)
    }
  }

  #readLine(text: string): void {
    try {
      const line = JSON.parse(text) as Line
      this.#apply('fault' in line ? { ...line, fault: Fault.fromJSON(line.fault) } : line)
    } catch (error) {
      this.#log.error({ err: error }, 'a line of the ledger cannot be read')
    }
  }

  #apply(line: Line): void {
    if ('acknowledged' in line) {
      for (const id of line.acknowledged) {
        const entry = this.#entries.get(id)
        if (entry) entry.isAcknowledged = true
      }
    } else if ('digest' in line) {
      const { at, ...beginning } = line
      this.#entries.set(line.id, {
        ...beginning,
        begun: at,
        ended: null,
        answer: null,
        isAcknowledged: false
      })
    } else {
      const entry = this.#entries.get(line.id)
      if (!entry) return
      entry.ended = line.at
      entry.answer =
        'value' in line ? { ok: true, value: line.value } : { ok: false, fault: asFault(line.fault) }
    }
  }

  /** Never a task that the coordinator may still ask for. */
  #prune(): void {
    const now = this.#clock.wall()
    for (const { id, ended, isTask, isAcknowledged, epoch } of this.#entries.values()) {
      if (ended === null || now - ended < day) continue
      if (!isTask || isAcknowledged || epoch === 0) this.#entries.delete(id)
    }
  }

  #append(line: Line): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ text: `${JSON.stringify(line)}\n`, resolve, reject })
      this.#writing ??= this.#write().finally(() => (this.#writing = null))
    })
  }

  async #write(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0)
      try {
        await this.#writeDown(Buffer.from(batch.map(({ text }) => text).join('')))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        const why = new Fault('STORE_FULL', 'the ledger of the agent cannot be written', { cause: error })
        for (const { reject } of batch) reject(why)
      }
    }
  }

  async #writeDown(bytes: Buffer): Promise<void> {
    if (!this.#file) throw new Error('the ledger is closed')
    try {
      await this.#file.appendFile(bytes)
      await this.#file.datasync()
      this.#size += bytes.length
    } catch (error) {
      await this.#file.truncate(this.#size).catch(() => {})
      throw error
    }
    if (this.#size > Math.max(compactAt, 4 * this.#compactedSize)) await this.#compactQuietly()
  }

  async #compactQuietly(): Promise<void> {
    this.#prune()
    await this.#compact().catch((error: unknown) => this.#log.error({ err: error }, 'ledger not compacted'))
  }

  async #compact(): Promise<void> {
    const lines = this.entries().flatMap(linesOf)
    const bytes = Buffer.from(lines.map(line => `${JSON.stringify(line)}\n`).join(''))
    const file = await open(`${this.#path}.new`, 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${this.#path}.new`, this.#path)
    await syncDirectory(this.#path.replace(/\/[^/]*$/, '') || '/')
    const appended = await open(this.#path, 'a+', 0o600)
    await this.#file?.close()
    this.#file = appended
    this.#size = bytes.length
    this.#compactedSize = bytes.length
  }
}

function linesOf(entry: Entry): Line[] {
  const { begun, ended, answer, isAcknowledged, ...beginning } = entry
  const lines: Line[] = [{ at: begun, ...beginning }]
  if (ended !== null && answer) {
    const { id } = entry
    lines.push(answer.ok ? { at: ended, id, value: answer.value } : { at: ended, id, fault: answer.fault })
  }
  if (isAcknowledged) lines.push({ at: ended ?? begun, acknowledged: [entry.id] })
  return lines
}

const asFault = (error: unknown) =>
  error instanceof Fault
    ? error
    : new Fault('INTERRUPTED', error instanceof Error ? error.message : String(error))
