import { readFileSync } from 'node:fs'
import { ProcFile } from './proc-file.js'

const ticksPerSecond = 100
const pageSize = 4096

export type Usage = { cpuSeconds: number; residentBytes: number }

/**
 * CPU time and memory of one QEMU, out of /proc. The open file names this process and no later one with the
 * same number.
 */
export class ProcessUsage implements Disposable {
  readonly #file: ProcFile

  private constructor(file: ProcFile) {
    this.#file = file
  }

  /** Null if there is no such process, or it is not the one that `mark` on its command line tells. */
  static open(pid: number, mark: string): ProcessUsage | null {
    try {
      const file = new ProcFile(`/proc/${pid}/stat`)
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark)) return new ProcessUsage(file)
      file.close()
    } catch {
      // Gone meanwhile.
    }
    return null
  }

  /** Null when the process has ended; also when nobody has taken note of that yet. */
  read(): Usage | null {
    try {
      const stat = this.#file.read()
      return hasEndedIn(stat) ? null : usageIn(stat)
    } catch {
      return null
    }
  }

  close(): void {
    this.#file.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** A zombie, or dead: nothing of it runs any more. */
const hasEndedIn = (stat: string) => /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))

/** /proc/PID/stat: the name in brackets may contain anything, numbers follow its last bracket. */
export function usageIn(stat: string): Usage {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const number = (index: number) => Number(fields[index - 3] ?? 0)
  return { cpuSeconds: (number(14) + number(15)) / ticksPerSecond, residentBytes: number(24) * pageSize }
}
