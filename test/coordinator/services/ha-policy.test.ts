import t from 'tap'
import { coordinatorServices } from '../../../proto/load.js'
import { coordinatorWorld } from '../world.js'
t.test('a host whose lease lives is not fenced unless a cluster says so', async t => {
  const world = await coordinatorWorld(t)
  for (const [flag, is] of [
    [undefined, true],
    [false, false],
    [true, true]
  ] as const) {
    const ha = { fencingEnabled: true, ...(flag === undefined ? {} : { skipFencingWhileLeaseLives: flag }) }
    const { clusterId } = await world.mutate(coordinatorServices.cluster.CreateCluster, {
      cluster: { name: `c${flag}`, ha }
    })
    const c = await world.call(coordinatorServices.cluster.GetCluster, { clusterId })
    t.equal(c.ha?.skipFencingWhileLeaseLives, is)
  }
})
