import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import t from 'tap'
import { eachOf } from '../../../coordinator/jobs/hosts.js'
import { AgentWorld, diskless } from './world.js'

t.setTimeout(400_000)

// A paused QEMU is a whole one for libvirt and the agent, takes no CPU and some 30 MiB: so there can be many.
const room = Math.floor(freemem() / 2 ** 26)
const many = Number(process.env['DROVER_MANY_VMS'] ?? Math.min(100, room))

t.test(
  `an agent that is killed with ${many} VMs knows all of them again after 10 s of a CPU at most`,
  async t => {
    await using world = await AgentWorld.start()
    const specs = Array.from({ length: many }, (_, index) => diskless(randomUUID(), { name: `vm-${index}` }))
    const begun = performance.now()
    await eachOf(specs, 4, async (spec, index) => {
      const request = { vmGeneration: String(index + 1), spec, paused: true }
      const task = await world.client.task('vm', 'StartVm', request)
      if (task['state'] !== 'TASK_STATE_SUCCEEDED') throw new Error(JSON.stringify(task['failure']))
    })
    t.comment(`${many} VMs in ${((performance.now() - begun) / 1000).toFixed(1)} s`)
    const before = (await world.libvirtd.pids('qemu-system-x86')).toSorted()
    t.equal(before.length, many)

    await world.agentEnds('SIGKILL')
    const [libvirtd] = await world.libvirtd.pids('libvirtd')
    const spent = await cpuSeconds(libvirtd!)
    const killed = performance.now()
    await world.startAgent()
    const wall = (performance.now() - killed) / 1000
    // The promise is 10 s. Other work of this machine must not decide, so CPU time is counted and not the clock.
    const cpu = (await cpuSeconds(world.agentPid)) + (await cpuSeconds(libvirtd!)) - spent
    const { vms } = await world.client.call('vm', 'ListVms', { pageSize: 1000 })
    const known = new Map((vms as Array<Record<string, unknown>>).map(vm => [vm['vmId'], vm]))
    t.equal(known.size, many)
    const wrong = specs.filter(({ vmId, name }, index) => {
      const vm = known.get(vmId)
      const isSame = vm?.['name'] === name && vm['vmGeneration'] === String(index + 1)
      return !isSame || vm['status'] !== 'VM_STATUS_PAUSED'
    })
    t.strictSame(wrong, [], 'each with its name, generation and state')
    t.strictSame((await world.libvirtd.pids('qemu-system-x86')).toSorted(), before, 'no QEMU was touched')
    t.ok(cpu < 10, `${cpu.toFixed(1)} s of CPU in agent and libvirtd, ${wall.toFixed(1)} s by the clock`)

    const [first, last] = [specs[0]!, specs.at(-1)!]
    for (const { vmId } of [first, last]) {
      t.match(await world.client.task('vm', 'ResumeVm', { vmId }), { state: 'TASK_STATE_SUCCEEDED' })
      t.match(await world.vm(vmId), { status: /UP$/ })
    }
  }
)

/** User and system time of a process so far; the kernel counts in hundredths. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
