import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Method } from '../../../common/client.js'
import { Fault } from '../../../common/fault.js'
import { coordinatorServices } from '../../../proto/load.js'
import { badRequests, markers } from '../../common/bad-values.js'
import { coordinatorWorld } from '../world.js'

t.setTimeout(280_000)

type AnyMethod = Method<object, object>
const services = Object.values(coordinatorServices) as object[]
const methods = new Map(
  services.flatMap(service =>
    (Object.values(service) as AnyMethod[]).map(method => [method.path, method] as const)
  )
)
const expected = new Set<string>([
  ...['INVALID_ARGUMENT', 'NOT_FOUND', 'FAILED_PRECONDITION', 'ALREADY_EXISTS', 'ABORTED'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'UNIMPLEMENTED']
])

t.test(
  'whatever a field of any method is filled with, the answer is one that callers can understand',
  async t => {
    const world = await coordinatorWorld(t)
    const wrong: string[] = []
    const times: number[] = []
    for (const { path, field, what, request } of badRequests('drover.v1')) {
      const began = performance.now()
      const outcome: unknown = await world.local
        .call(methods.get(path)!, request, AbortSignal.timeout(10_000))
        .catch((error: unknown) => error)
      times.push(performance.now() - began)
      if (!(outcome instanceof Fault)) continue
      const told = `${path} ${field} = ${what}: ${outcome.status} ${outcome.message.slice(0, 200)}`
      if (!expected.has(outcome.status)) wrong.push(told)
      if (/node_modules|\.[jt]s:\d|at Object|SELECT |\/tmp\//.test(outcome.message)) wrong.push(told)
    }
    t.strictSame(wrong, [])
    t.ok(times.length > 200, `${times.length} requests`)
    t.ok(times.toSorted((a, b) => a - b)[times.length >> 1]! < 1000, 'at once')

    await world.stop()
    const files = await readdir(world.folder, { recursive: true, withFileTypes: true })
    for (const file of files.filter(file => file.isFile())) {
      const bytes = await readFile(join(file.parentPath, file.name))
      for (const marker of markers)
        t.notOk(bytes.includes(marker), `${file.name} has no ${JSON.stringify(marker)}`)
    }
  }
)
