import { appendFileSync } from 'node:fs'
import { pino } from 'pino'
import { systemClock } from '../../../common/clock.js'
import { commandRunner } from '../../../common/run.js'
import { bytes, seconds } from '../../../common/units.js'
import { ManagerLease } from '../../../storage/manager-lease.js'
import { StandingManager } from '../../../storage/manager/standing-manager.js'
import { Sanlock } from '../../../storage/sanlock.js'

// A storage worker as far as the manager role goes: takes the lease by the real daemon, serves the mailbox. What it
// would have LVM write it appends to a file, so that a test sees each write of each manager.

export type ChildSettings = {
  storageDomainId: string
  directory: string
  sanlockRunDirectory: string
  sanlockHostId: number
  writes: string
}

const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings
const { storageDomainId, directory, sanlockRunDirectory, sanlockHostId, writes } = settings
const log = pino({ level: 'warn' }, pino.destination({ dest: 2, sync: true }))
const run = commandRunner(log)
const sanlock = new Sanlock({ mode: 'daemon', runDirectory: sanlockRunDirectory }, run, systemClock)
const path = (name: string) => `${directory}/${name}`
const resource = { lockspace: storageDomainId, name: 'SDM', path: path('leases'), offset: bytes(2 ** 20) }
const lease = new ManagerLease(sanlock, resource, systemClock, log)
const lockspace = { name: storageDomainId, sanlockHostId, path: path('ids') }

await sanlock.join(lockspace, seconds(1), AbortSignal.timeout(240_000))
process.stdout.write('joined\n')
const manager = await StandingManager.take(
  {
    storageDomain: {
      identity: { id: storageDomainId, shared: true },
      leases: { asManager: signal => lease.hold(signal) },
      special: { inbox: path('inbox'), outbox: path('outbox'), leases: path('leases') }
    },
    resource,
    extend: async volumes => {
      for (const volume of volumes) appendFileSync(writes, `${JSON.stringify(volume)}\n`)
      return volumes.map(({ volumeId, to }) => ({ volumeId, size: to, failure: null }))
    },
    ...{ sanlock, clock: systemClock, log },
    onLost: () => {
      process.stdout.write('lost\n')
      process.exit(3)
    }
  },
  AbortSignal.timeout(240_000)
)
process.stdout.write(`manager ${manager.leaseVersion}\n`)
process.on('SIGTERM', () => void manager.giveUp().then(() => lease.giveUp().then(() => process.exit(0))))
setInterval(() => {}, 1000)
