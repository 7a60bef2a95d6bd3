import t from 'tap'
import {
  buildChild,
  failed,
  fileSuite,
  killed,
  pointsOf,
  preparedWorld,
  repeated,
  stuck,
  type Suite,
  survives
} from './harness.js'
import type { World } from './world.js'

type Ending = {
  title: string
  end(name: string, world: World, point: string, suite: Suite): Promise<void>
  /** Only at every so many points; at all of them with DROVER_CRASH_FULL=1. */
  every?: number
}

const isFull = process.env['DROVER_CRASH_FULL'] === '1'

/** In this process: the operation simply gets no further. Fast enough for every point at every change. */
export const halfway: Ending[] = [{ title: 'ends', end: stuck }]

/** Real kills in processes of their own, errors, and acts done twice. */
export function everyEnding(suite: Suite = fileSuite): Ending[] {
  const child = buildChild(suite.child)
  t.teardown(async () => (await child).remove())
  return [
    {
      title: 'is killed',
      every: 3,
      end: async (name, world, point) => killed((await child).path, name, world, point)
    },
    { title: 'gets an error', end: failed },
    { title: 'acts twice', end: repeated }
  ]
}

/** Every operation of the list, ended in each way at every crash point. */
export function testCrashes(
  names: string[],
  endings: Ending[],
  suite: Suite = fileSuite,
  options: { skip?: string | false; rotating?: boolean; step?: number } = {}
): void {
  for (const name of names) {
    t.test(
      `${name}: whatever ends it where, it is whole after a repeat`,
      { timeout: 600_000, skip: options.skip ?? false },
      async t => {
        const operation = suite.operations[name]
        if (!operation) throw new Error(`no operation ${name}`)
        const prepared = await preparedWorld(operation, suite)
        t.teardown(() => prepared.remove())
        const recorded = await prepared.copy()
        const points = await pointsOf(name, recorded, suite)
        await recorded.remove()
        t.ok(points.length > 0, `${points.length} crash points`)
        for (const [i, point] of points.entries()) {
          // Where each takes seconds, every point gets one ending, each in its turn.
          const { rotating, step = 1 } = options
          if (!isFull && (points.length - 1 - i) % step !== 0) continue
          const turn = Math.floor(i / step) % endings.length
          const chosen = rotating && !isFull ? endings.slice(turn, turn + 1) : endings
          for (const { title, end, every = 1 } of chosen) {
            // The last point of an operation, and every n-th before it.
            if (!isFull && !options.rotating && (points.length - 1 - i) % every !== 0) continue
            await t.resolves(
              survives(name, prepared, world => end(name, world, point, suite), suite),
              `${title} at ${point}`
            )
          }
        }
      }
    )
  }
}
