import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { cpuOf, memoryNeeded, type ClusterSnapshot } from '../../coordinator/scheduler/cluster.js'

// Ganeti's htools (Debian: ganeti-htools) on our clusters: hbal judges and makes plans over the same data.

const run = promisify(execFile)
const mib = (size: number) => Math.round(size / 2 ** 20)

/** The cluster as hbal reads it: shared storage, so any VM can go anywhere, as with us. */
export async function writeForHbal(
  { hosts }: ClusterSnapshot,
  hostOf: ReadonlyMap<string, string>,
  path: string
): Promise<void> {
  const vms = hosts.flatMap(host =>
    host.running.map(vm => ({ ...vm, hostId: hostOf.get(vm.vmId) ?? host.hostId }))
  )
  const used = new Map<string, number>()
  for (const vm of vms) used.set(vm.hostId, (used.get(vm.hostId) ?? 0) + mib(memoryNeeded(vm)))
  const [first] = hosts
  if (!first) throw new Error('no hosts')
  const lines = [
    'group-01|fake-uuid-01|preferred||',
    '',
    ...hosts.map(({ hostId, memory, cpus }) => {
      const free = mib(memory) - 1024 - (used.get(hostId) ?? 0)
      return `${hostId}|${mib(memory)}|1024|${free}|1000000|1000000|${cpus}|N|fake-uuid-01|1||N|0|1|1.0`
    }),
    '',
    ...vms.map(vm => `${vm.vmId}|${mib(memoryNeeded(vm))}|0|${vm.vcpus}|running|Y|${vm.hostId}||ext||1|-`),
    '',
    '',
    '|128,1,1024,1,1,1|128,1,0,1,0,1;1048576,64,1048576,1,16,64|ext,sharedfile|64.0|32.0'
  ]
  await writeFile(path, `${lines.join('\n')}\n`)
  // What each VM uses of a host: CPU, memory, disk, network.
  const loads = vms.map(vm => {
    const cpu = cpuOf(vm) / (100 * first.cpus)
    return `${vm.vmId} ${cpu.toFixed(6)} ${(memoryNeeded(vm) / first.memory).toFixed(6)} 0 0`
  })
  await writeFile(`${path}.load`, `${loads.join('\n')}\n`)
}

export type Hbal = { before: number; after: number; moves: number; cpuSeconds: number; isFinished: boolean }

/** Runs hbal; `most` moves, 0 only judges. Its CPU time is taken, since the machine may be busy. */
export async function hbal(path: string, most: number | null, limitSeconds: number): Promise<Hbal> {
  const args = ['-t', path, '-U', `${path}.load`, ...(most === null ? [] : ['-l', String(most)])]
  const timed = ['-o', `${path}.time`, '-f', '%U %S', 'timeout', String(limitSeconds), 'hbal', ...args]
  const { stdout } = await run('/usr/bin/time', timed, { maxBuffer: 2 ** 26 }).catch((error: unknown) => {
    return { stdout: (error as { stdout?: string }).stdout ?? '' }
  })
  const times = (await readFile(`${path}.time`, 'utf8')).trim().split('\n').at(-1) ?? ''
  const cpuSeconds = times.split(' ').reduce((sum, part) => sum + Number(part), 0)
  const before = Number(/Initial score: ([\d.]+)/.exec(stdout)?.[1] ?? NaN)
  const after = Number(/improved from [\d.]+ to ([\d.]+)/.exec(stdout)?.[1] ?? before)
  const isFinished = /Solution length=|No solution found|Cluster is already well balanced/.test(stdout)
  return {
    before,
    after,
    moves: Number(/Solution length=(\d+)/.exec(stdout)?.[1] ?? 0),
    cpuSeconds,
    isFinished
  }
}
