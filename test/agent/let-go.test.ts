import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { pino } from 'pino'
import t from 'tap'
import { LetGo } from '../../agent/let-go.js'
import type { Migration } from '../../agent/migration.js'
import { ProcessUsage } from '../../agent/process-usage.js'
import type { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'

const migration = { taskId: randomUUID(), vmId: randomUUID(), generation: 3 } as Migration
const log = pino({ level: 'silent' })

/** A destination that writes down what it hears; it answers nothing while `isDeaf`. */
function destination() {
  const heard: object[] = []
  const world = { isDeaf: false, heard, client: null as unknown as RpcClient }
  world.client = {
    call: async (_: unknown, request: object) => {
      heard.push(request)
      if (world.isDeaf) throw new Error('not reached')
      return {}
    }
  } as unknown as RpcClient
  return world
}

async function running(): Promise<{ usage: ProcessUsage; end: () => Promise<void> }> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  await once(child, 'spawn')
  const usage = ProcessUsage.open(child.pid ?? 0, 'sleep')
  t.teardown(() => child.kill('SIGKILL'))
  if (usage === null) throw new Error('there is no such process')
  const end = async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return { usage, end }
}

const told = { requestId: migration.taskId, vmId: migration.vmId, vmGeneration: '3' }
const untilHeard = async (heard: object[]) => {
  for (let i = 0; i < 500 && heard.length === 0; i++) await new Promise(resolve => setTimeout(resolve, 10))
}

t.test('the end of the process lets the VM go, before libvirt says that it left, and once', async t => {
  const { client, heard } = destination()
  const { usage, end } = await running()
  const letGo = new LetGo(client, migration, log)
  letGo.onEndOf(usage, systemClock, new AbortController().signal)
  t.strictSame(heard, [], 'not while it runs')
  await end()
  await untilHeard(heard)
  t.strictSame(heard, [told])
  await letGo.now()
  t.equal(heard.length, 1)
  usage.close()
})

t.test('when the migration is over, nobody waits for a process that stays', async t => {
  const { client, heard } = destination()
  const { usage } = await running()
  const over = new AbortController()
  const letGo = new LetGo(client, migration, log)
  letGo.onEndOf(usage, systemClock, over.signal)
  over.abort()
  await letGo.now()
  t.strictSame(heard, [told], 'libvirt said that it left')
  usage.close()
})

t.test('a destination that did not hear it the first time is told again, and then asks itself', async t => {
  const world = destination()
  world.isDeaf = true
  const { usage, end } = await running()
  const letGo = new LetGo(world.client, migration, log)
  letGo.onEndOf(usage, systemClock, new AbortController().signal)
  await end()
  await untilHeard(world.heard)
  await letGo.now()
  t.strictSame(world.heard, [told, told])
  usage.close()
})
