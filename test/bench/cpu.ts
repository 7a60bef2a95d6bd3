import { readFile } from 'node:fs/promises'

const tick = 10 // ms: USER_HZ is 100 on every Linux that Drover runs on

/** CPU time that a process has used so far, in milliseconds, user and system. */
export async function cpuOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tick
}

/** Resident memory in MiB, now and at its highest. */
export async function memoryOf(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
  return { now: kib('VmRSS') / 1024, peak: kib('VmHWM') / 1024 }
}

export async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.split(' ').map(Number).filter(Boolean)
}

/** The first process at or below this one that runs the given program. */
export async function findBelow(pid: number, program: string): Promise<number> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
  if (name.trim() === program) return pid
  for (const child of await childrenOf(pid)) {
    const found = await findBelow(child, program)
    if (found > 0) return found
  }
  return 0
}
