import t from 'tap'
import { pointsOf, stuck, type Suite } from './crash/harness.js'
import type { Operation } from './crash/operations.js'
import { never } from './crash/world.js'
import { type Case, chain, isUsable, type Ward, wantedOf } from './doctor-cases.js'

/** For each case: the repair is cut off at each of its steps; a new plan then ends it, and nothing else is wrong. */
export function testDoctorCutOff(ward: Ward, table: Record<string, Case>): void {
  for (const [name, { breakIt, found, vmIds }] of Object.entries(table)) {
    if (found.every(([kind]) => kind === null)) continue
    t.test(
      `${name}: repaired wherever the repair is cut off`,
      { skip: ward.skip, timeout: 280_000 },
      async t => {
        const patient = await ward.admit(t)
        const { world } = patient
        await chain(world)
        await breakIt(patient)
        const scope = { intents: [], vmIds: vmIds ?? null }
        const wanted = wantedOf(await world.restarted().ask.diagnose(scope, never))
        const repair: Operation = {
          prepare: async () => {},
          run: async it => void (await it.ask.repair({ ...scope, wanted }, never)),
          intents: [],
          check: async () => {}
        }
        const suite: Suite = { operations: { repair }, newWorld: async () => world, child: '' }
        const recorded = await world.copy()
        const points = await pointsOf('repair', recorded, suite)
        await recorded.remove()
        t.ok(points.length > 0, points.join(', '))
        for (const point of points) {
          const copy = await world.copy()
          try {
            await stuck('repair', copy, point, suite)
            const { ask } = copy.restarted()
            const rest = wantedOf(await ask.diagnose(scope, never))
            const { failed, left } = await ask.repair({ ...scope, wanted: rest }, never)
            t.strictSame({ failed, left }, { failed: [], left: [] }, `ended after ${point}`)
            await isUsable(t, ask)
          } finally {
            await copy.remove()
          }
        }
      }
    )
  }
}
