import { readFileSync } from 'node:fs'
import { parseHostPort } from '../../../common/address-rules.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { createLog } from '../../../common/log.js'
import { commandRunner } from '../../../common/run.js'
import { Secret } from '../../../common/secret.js'
import { seconds } from '../../../common/units.js'
import { BlockStorage } from '../../../storage/connections/block-storage.js'
import type { IscsiPortal } from '../../../storage/connections/iscsi-target.js'
import type { Chap } from '../../../storage/connections/iscsi-settings.js'
import { Reservations } from '../../../storage/connections/reservations.js'

// Runs in a VM: `node san.js REQUESTS.json` does things with the SAN, one after the other, and prints what came of each.
// They come by a file, as secrets must not stand among the arguments of any program.

type Request =
  | { verb: 'discover'; portal: string; chap: ChapText | null }
  | { verb: 'login'; portals: IscsiPortal[]; chap: ChapText | null }
  | { verb: 'logout'; portals: IscsiPortal[] }
  | { verb: 'luns' | 'rescan' }
  | { verb: 'connect'; portals: IscsiPortal[]; luns: string[] }
  | { verb: 'register'; paths: string[]; key: string }
  | { verb: 'preempt'; path: string; own: string; other: string }
type ChapText = { user: string; secret: string; mutualUser: string; mutualSecret: string }

const run = commandRunner(createLog('san', 'silent'))
const storage = new BlockStorage({ run, clock: systemClock, log: createLog('san', 'silent') })
const reservations = new Reservations(run)
const signal = AbortSignal.timeout(300_000)

const chapOf = (chap: ChapText | null): Chap | null =>
  chap && {
    user: chap.user,
    secret: new Secret(chap.secret),
    mutual: { user: chap.mutualUser, secret: new Secret(chap.mutualSecret) }
  }

async function answer(request: Request): Promise<unknown> {
  switch (request.verb) {
    case 'discover': {
      const portal = parseHostPort(request.portal)
      if (!portal) throw new RangeError(`no portal: ${request.portal}`)
      return storage.discover(portal, chapOf(request.chap), signal)
    }
    case 'login':
      return storage.login(request.portals, { chap: chapOf(request.chap), ioTimeout: seconds(10) }, signal)
    case 'logout':
      return storage.logout(request.portals, signal)
    case 'luns':
      return storage.luns(signal)
    case 'rescan':
      return storage.rescan(signal)
    case 'connect': {
      const settings = { chap: null, ioTimeout: seconds(10) }
      return storage.connect(
        { kind: 'iscsi', portals: request.portals, luns: request.luns },
        settings,
        signal
      )
    }
    case 'register':
      await reservations.register(request.paths, request.key, signal)
      return reservations.read(request.paths[0] ?? '', signal)
    case 'preempt':
      await reservations.preempt(request.path, request.own, request.other, signal)
      return reservations.read(request.path, signal)
  }
}

/** Also how long it took, and how long the event loop stood still: a disk that hangs may hold up nothing else. */
async function measured(request: Request): Promise<object> {
  let longestStandstill = 0
  const started = performance.now()
  let last = started
  const heartbeat = setInterval(() => {
    const now = performance.now()
    longestStandstill = Math.max(longestStandstill, now - last - 20)
    last = now
  }, 20)
  const result = await answer(request).then(
    value => ({ value: value ?? null }),
    (error: unknown) => {
      if (!(error instanceof Fault)) throw error
      return { fault: error.toJSON() }
    }
  )
  clearInterval(heartbeat)
  return { ...result, milliseconds: performance.now() - started, longestStandstill }
}

const requests = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Request[]
const answers: object[] = []
for (const request of requests) answers.push(await measured(request))
process.stdout.write(`${JSON.stringify(answers)}\n`)
process.exit()
