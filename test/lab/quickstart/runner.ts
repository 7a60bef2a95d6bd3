import { appendFileSync } from 'node:fs'
import type { ProgressOf } from '../progress.js'

export type Step = { name: string; run: (progress: ProgressOf) => Promise<string | void> }
export type Outcome = { name: string; ok: boolean; seconds: number }

const tidy = (seconds: number) => Math.round(seconds * 10) / 10

/**
 * Runs steps one after the other and stops at the first that fails. Each is printed with its time; while one runs, a
 * terminal shows how far it is. With JSON asked for, people's lines go to standard error.
 */
export class Runner {
  readonly outcomes: Outcome[]
  readonly #out: NodeJS.WriteStream
  readonly #started: number
  readonly #logFile: string

  constructor(before: Outcome[], started: number, { json, logFile }: { json: boolean; logFile: string }) {
    this.outcomes = before
    this.#started = started
    this.#out = json ? process.stderr : process.stdout
    this.#logFile = logFile
  }

  get ok(): boolean {
    return this.outcomes.every(({ ok }) => ok)
  }
  get totalSeconds(): number {
    return tidy((Date.now() - this.#started) / 1000)
  }

  async run({ name, run }: Step): Promise<boolean> {
    const begin = performance.now()
    const seconds = () => tidy((performance.now() - begin) / 1000)
    try {
      const result = await run(text => this.#showProgress(name, text))
      this.#end(name, true, seconds(), result ?? '')
      return true
    } catch (error) {
      this.#end(name, false, seconds(), '')
      this.#explain(error)
      return false
    }
  }

  line(text: string): void {
    this.#out.write(`${text}\n`)
    appendFileSync(this.#logFile, `${text}\n`)
  }

  /** The one line for programs. */
  json(): string {
    return JSON.stringify({ ok: this.ok, totalSeconds: this.totalSeconds, steps: this.outcomes })
  }

  #showProgress(name: string, text: string): void {
    if (this.#out.isTTY) this.#out.write(`\r\x1b[K  …   ${name}: ${text}`.slice(0, 150))
  }

  #end(name: string, ok: boolean, seconds: number, result: string): void {
    this.outcomes.push({ name, ok, seconds })
    if (this.#out.isTTY) this.#out.write('\r\x1b[K')
    const number = String(this.outcomes.length).padStart(2)
    const [first = '', ...rest] = result.split('\n')
    this.line(
      `${number}. ${ok ? 'ok    ' : 'FAILED'} ${`${seconds} s`.padStart(8)}  ${name}${first && `: ${first}`}`
    )
    for (const text of rest) this.line(`${' '.repeat(21)}${text}`)
  }

  #explain(error: unknown): void {
    for (let at: unknown = error; at !== undefined; at = at instanceof Error ? at.cause : undefined) {
      const text = at instanceof Error ? at.message : String(at)
      this.line(
        text
          .split('\n')
          .slice(0, 20)
          .map(line => `      ${line}`)
          .join('\n')
      )
    }
  }
}
