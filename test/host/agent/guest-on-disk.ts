import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { root } from '../../root.js'
import type { AgentClient, Answer } from './client.js'

const execute = promisify(execFile)

/** Puts the lab's small Linux with its guest agent and its writer on a volume of a file storage domain. */
export async function installGuest(volume: string, scratch: string): Promise<void> {
  const image = join(scratch, 'guest.qcow2')
  await execute(join(root, 'test/lab/guest/build-image.sh'), [image])
  await execute('qemu-img', ['convert', '-f', 'qcow2', '-O', 'qcow2', image, volume])
}

/** Asks every tenth of a second; an answer of null or false is none yet. */
export async function until<T>(
  what: string,
  seconds: number,
  ask: () => Promise<T | null | false>
): Promise<T> {
  const end = performance.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (answer !== null && answer !== false) return answer
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await setTimeout(100)
  }
}

/** What the guest's writer says at the console of a VM on this host. */
export class Console {
  readonly found: number[] = []
  acknowledged = 0
  readonly #stream
  #rest = ''

  constructor(client: AgentClient, vmId: string) {
    this.#stream = client.bidi('vm', 'OpenConsole')
    this.#stream.on('data', (output: Answer) => this.#take(output['data'].toString('latin1')))
    this.#stream.on('error', () => {})
    this.#stream.write({ open: { vmId } })
  }

  type(text: string): void {
    this.#stream.write({ data: Buffer.from(text) })
  }

  close(): void {
    this.#stream.cancel()
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split(/\r?\n/)
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const [, word, number] = /(ack|found) (\d+)\s*$/.exec(line) ?? []
      if (word === 'ack') this.acknowledged = Number(number)
      if (word === 'found') this.found.push(Number(number))
    }
  }
}
