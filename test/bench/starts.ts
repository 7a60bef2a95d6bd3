import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { poll, type Lab } from '../lab/lab.js'

const line = /^(\S+ [\d:.]+)\+0000: event 'lifecycle' for domain '([^']+)': Started Booted/

/** When guests begin to run on the hosts of a lab, as their libvirts say: the last time of each, in ms. */
export class Starts implements Disposable {
  readonly #times = new Map<string, number>()
  readonly #children = new Map<string, ChildProcess>()
  readonly #lab: Lab

  constructor(lab: Lab) {
    this.#lab = lab
  }

  /** Once more after the host was off. */
  watch(...hosts: string[]): void {
    for (const host of hosts) {
      this.#children.get(host)?.kill()
      const command = ['stdbuf', '-oL', 'virsh', 'event', '--event', 'lifecycle', '--loop', '--timestamp']
      const child = this.#lab.follow(host, command)
      this.#children.set(host, child)
      createInterface(child.stdout).on('line', text => {
        const [, time = '', name = ''] = line.exec(text) ?? []
        if (name !== '') this.#times.set(name, Date.parse(`${time.replace(' ', 'T')}Z`))
      })
    }
  }

  /** The first one after a moment, of each guest, in order. */
  async after(moment: number, names: readonly string[], seconds: number): Promise<number[]> {
    const times = () =>
      names.flatMap(name => ((this.#times.get(name) ?? 0) >= moment ? [this.#times.get(name) ?? 0] : []))
    await poll(`${names.length} guests running again`, seconds, async () => {
      return times().length === names.length ? true : null
    })
    return times().toSorted((a, b) => a - b)
  }

  [Symbol.dispose](): void {
    for (const child of this.#children.values()) child.kill()
  }
}
