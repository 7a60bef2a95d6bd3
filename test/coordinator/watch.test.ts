import t from 'tap'
import { coordinatorServices } from '../../proto/load.js'
import type { Wire } from '../fakes/fake-agent.js'
import { coordinatorWorld, type CoordinatorWorld } from './world.js'

t.setTimeout(280_000)

const { watch, event, cluster } = coordinatorServices

async function collect(
  world: CoordinatorWorld,
  request: Wire,
  isEnough: (messages: Wire[]) => boolean
): Promise<Wire[]> {
  const messages: Wire[] = []
  const end = new AbortController()
  try {
    for await (const message of world.local.stream(watch.Watch, request, end.signal)) {
      messages.push(message)
      if (isEnough(messages)) return messages
    }
  } finally {
    end.abort()
  }
  return messages
}
const kindsOf = (messages: Wire[]) => messages.map(({ kind }) => String(kind).replace('WATCH_KIND_', ''))
const hasEnded = (messages: Wire[]) => messages.at(-1)?.['kind'] === 'WATCH_KIND_SNAPSHOT_END'

t.test('a watcher gets a snapshot, then changes, and goes on from where it was', async t => {
  const world = await coordinatorWorld(t)
  const a = await world.createCluster('a')
  const first = await collect(world, { kinds: ['cluster'] }, hasEnded)
  t.strictSame(kindsOf(first), ['SNAPSHOT', 'SNAPSHOT_END'])
  t.match(first[0], { key: `cluster/${a}`, cluster: { name: 'a' } })
  const from = first.at(-1)?.['position']

  const b = await world.createCluster('b')
  await world.mutate(cluster.DeleteCluster, { clusterId: a })
  const news = await collect(world, { kinds: ['cluster'], from }, messages => messages.length === 2)
  t.strictSame(
    news.map(({ key, kind }) => [key, kind]),
    [
      [`cluster/${b}`, 'WATCH_KIND_CHANGED'],
      [`cluster/${a}`, 'WATCH_KIND_REMOVED']
    ]
  )
  const quiet = await collect(world, { from: news.at(-1)?.['position'] }, messages => messages.length === 1)
  t.strictSame(kindsOf(quiet), ['HEARTBEAT'])

  await world.stop()
  await world.start()
  const again = await collect(world, { kinds: ['cluster'], from: news.at(-1)?.['position'] }, hasEnded)
  t.strictSame(
    kindsOf(again),
    ['SNAPSHOT', 'SNAPSHOT_END'],
    'a position of another life is answered with a snapshot'
  )
})

t.test('events are followed by their numbers, without a gap and also over a restart', async t => {
  const world = await coordinatorWorld(t)
  await world.createCluster('a')
  const seen: string[] = []
  const follow = async (afterSequence: string, enough: number) => {
    const end = new AbortController()
    for await (const one of world.local.stream(event.WatchEvents, { afterSequence }, end.signal)) {
      seen.push(one.sequence)
      if (seen.length >= enough) end.abort()
      if (end.signal.aborted) break
    }
  }
  await follow('-1', 2)
  await world.stop()
  await world.start()
  await world.createCluster('b')
  await follow(seen.at(-1) ?? '', 4)
  t.strictSame(seen, ['1', '2', '3', '4'])
  const filtered = await world.call(event.ListEvents, { filter: 'kind = "cluster.*" AND severity = INFO' })
  t.equal(filtered.events.length, 2)
})
