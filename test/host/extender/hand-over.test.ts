import { randomUUID } from 'node:crypto'
import t from 'tap'
import { type ClusterHost, stamped } from '../agent/cluster.js'
import { skipped } from '../storage/block-world.js'
import { GiB, thinAgents, thinVm, until } from './agents-world.js'

// Two whole agents with real LVM and sanlock: the role goes from one to the other while a guest writes, and an operation
// on the other host borrows it.

t.setTimeout(400_000)

t.test('the manager of a storage domain changes while a guest writes', { skip: skipped }, async t => {
  const world = await thinAgents()
  t.teardown(() => world.end())
  const { a, b, store, volume, storageDomainId } = world
  const place = await volume(b, 16 * GiB)
  const vm = await thinVm(world, b, place)
  const stands = async ({ coordinator }: ClusterHost) =>
    (await coordinator.call('storage', 'GetStorageDomain', { storageDomainId }))['manager'] === true
  const prefer = ({ coordinator }: ClusterHost, preferred = true) =>
    coordinator.mutate('storage', 'PreferManager', stamped({ storageDomainId, preferred }))
  const moved = async (to: ClusterHost) => {
    const began = performance.now()
    await prefer(to)
    await until('it manages', () => stands(to))
    return performance.now() - began
  }

  await t.test('the preferred host takes the role before anybody needs room', async t => {
    t.notOk(await stands(a))
    await moved(a)
    await vm.guest.writeTo(128)
    const grown = await vm.grow()
    t.match(grown.at(-1)?.way, /fast|mailbox/)
    t.notOk(await stands(b))
  })

  await t.test('it moves to and fro while the guest writes: nothing is lost, nothing done twice', async t => {
    const before = (await vm.seen())?.history.length ?? 0
    const took: number[] = []
    for (const to of [b, a, b, a, b, a]) {
      const [milliseconds] = await Promise.all([moved(to), vm.grow()])
      took.push(milliseconds)
    }
    const history = (await vm.seen())?.history ?? []
    const steps = history.slice(before - 1)
    t.ok(steps.length > 6, `${steps.length} extensions`)
    for (const [n, step] of steps.entries()) {
      const last = steps[n - 1]
      if (last) t.equal(step.from, last.to, 'each begins where the last one ended')
    }
    t.notMatch(await vm.guest.state(), /^paused/)
    const ways = [...new Set(steps.map(({ way }) => way))]
    const slowest = Math.max(...steps.map(step => step.took))
    t.comment(`moved in ${took.map(Math.round).join(', ')} ms; ${ways}; slowest extension ${slowest} s`)
    t.ok(await stands(a))
    t.notOk(await stands(b))
  })

  await t.test('operations on the other host borrow it, although a disk keeps the manager busy', async t => {
    let isOver = false
    const writing = (async () => {
      while (!isOver) await vm.grow()
    })()
    const took: number[] = []
    for (let n = 0; n < 3; n++) {
      const began = performance.now()
      await store(b, 'CreateLease', { leaseId: randomUUID() })
      took.push(performance.now() - began)
      await new Promise(resolve => setTimeout(resolve, 500))
    }
    isOver = true
    await writing
    t.comment(`operations took ${took.map(Math.round).join(', ')} ms`)
    t.notMatch(await vm.guest.state(), /^paused/)
    await until('it has the role back', () => stands(a))
    t.notOk(await stands(b))
  })

  await t.test('one that is not preferred any more gives the role up to whoever is', async t => {
    await prefer(a, false)
    await moved(b)
    t.notOk(await stands(a))
    t.equal((await vm.grow()).at(-1)?.way, 'here')
  })

  await t.test('its agent dies: the other one takes the role as soon as the lease allows', async t => {
    await moved(a)
    await a.world.agentEnds('SIGKILL')
    const grown = await vm.grow()
    t.ok(grown.length > 0)
    await moved(b)
    t.equal((await vm.grow()).at(-1)?.way, 'here')
  })
})
