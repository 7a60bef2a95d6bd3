import t from 'tap'
import { systemClock } from '../../common/clock.js'
import { watch, type Watched, type WatchState } from '../../agent/watch-stream.js'
import { WatchLog, type Position } from '../../agent/watch-log.js'

const incarnation = '11111111-1111-4111-8111-111111111111'
const hello = () => ({
  hostGeneration: 1,
  bootId: 'b',
  agentVersion: '1',
  contractHash: 'c',
  recovering: false
})

function world() {
  const log = new WatchLog<WatchState>(incarnation, 2)
  const watched: Watched = { log, clock: systemClock, hello, samples: () => null }
  const read = async (from: Position | null, count: number, kinds: string[] = []) => {
    const end = new AbortController()
    const seen: string[] = []
    for await (const message of watch(watched, from, new Set(kinds) as never, end.signal)) {
      const [[kind = '', body] = []] = Object.entries(message)
      const { key, removed } = body as { key?: string; removed?: boolean }
      if (kind === 'heartbeat') continue
      seen.push([kind, key, removed ? 'removed' : ''].filter(Boolean).join(' '))
      if (seen.length === count) break
    }
    end.abort()
    return seen
  }
  return { log, read }
}

t.test('a new watcher gets everything there is, and then what changes', async t => {
  const { log, read } = world()
  log.publish('vm/1', { vm: {} })
  log.publish('vm/2', { vm: {} })
  log.publish('vm/1', null)
  const reading = read(null, 4)
  setImmediate(() => log.publish('task/9', { task: {} }))
  t.strictSame(await reading, ['hello', 'snapshot vm/2', 'snapshotEnd', 'delta task/9'])
})

t.test('a watcher that comes back gets what it missed, removals too', async t => {
  const { log, read } = world()
  log.publish('vm/1', { vm: {} })
  const position = { incarnation, sequence: log.sequence }
  log.publish('vm/2', { vm: {} })
  log.publish('vm/1', null)
  t.strictSame(await read(position, 3), ['hello', 'delta vm/2', 'delta vm/1 removed'])
})

t.test('a position of another life, of the future, or too old is answered with a snapshot', async t => {
  const { log, read } = world()
  for (const id of [1, 2, 3, 4]) log.publish(`vm/${id}`, { vm: {} })
  for (const id of [1, 2, 3]) log.publish(`vm/${id}`, null)
  const positions = [
    { incarnation: '22222222-2222-4222-8222-222222222222', sequence: 5 },
    { incarnation, sequence: 99 },
    { incarnation, sequence: 2 }
  ]
  for (const position of positions) {
    t.strictSame(await read(position, 3), ['hello', 'snapshot vm/4', 'snapshotEnd'])
  }
})

t.test('a watcher of one kind hears nothing else', async t => {
  const { log, read } = world()
  log.publish('vm/1', { vm: {} })
  log.publish('task/1', { task: {} })
  t.strictSame(await read(null, 3, ['task']), ['hello', 'snapshot task/1', 'snapshotEnd'])
})

t.test('what happened is told once, with a count of what was dropped', async t => {
  const log = new WatchLog<WatchState>(incarnation)
  for (let n = 0; n < 1500; n++) log.note('vm/1', 'vm.rebooted', 'again', n * 60_000)
  const { occurrences, dropped, last } = log.occurrencesSince(100)
  t.equal(occurrences.length, 1000)
  t.equal(dropped, 400)
  t.strictSame(log.occurrencesSince(last).occurrences, [])
})
