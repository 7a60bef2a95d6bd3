import type { Api } from './api.js'

const retryEvery = 250

/**
 * Reads the serial console of one VM for as long as it lives, over migrations and restarts, and keeps what the guest's
 * writer says: `ack N` for each number that is safe on the disk, `found N` at each boot.
 */
export class GuestConsole implements Disposable {
  readonly #abort = new AbortController()
  readonly acknowledged: number[] = []
  readonly found: number[] = []
  #text = ''
  #rest = ''

  constructor(api: Api, vmId: string) {
    void this.#follow(api, vmId)
  }

  get lastAcknowledged(): number {
    return this.acknowledged.at(-1) ?? 0
  }
  /** The last lines, for people. */
  tail(lines: number): string[] {
    return this.#text
      .split('\n')
      .filter(line => line.trim() !== '')
      .slice(-lines)
  }

  [Symbol.dispose](): void {
    this.#abort.abort()
  }

  // The stream ends when the VM moves; open it again until nobody wants it any more.
  async #follow(api: Api, vmId: string): Promise<void> {
    const { signal } = this.#abort
    while (!signal.aborted) {
      try {
        for await (const text of api.console(vmId, signal)) this.#take(text)
      } catch {
        // Not running yet, or moving.
      }
      this.#rest = ''
      await new Promise(resolve => setTimeout(resolve, retryEvery))
    }
  }

  #take(text: string): void {
    this.#text = (this.#text + text.replaceAll('\r', '')).slice(-16_384)
    const lines = (this.#rest + text).split(/\r?\n/)
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const [, word, number] = /(ack|found) (\d+)\s*$/.exec(line) ?? []
      if (word === 'ack') this.acknowledged.push(Number(number))
      if (word === 'found') this.found.push(Number(number))
    }
  }
}
