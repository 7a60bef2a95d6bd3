import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { betweenLooks, type UseWatch } from '../common/own-use.js'
import { seconds } from '../common/units.js'
import { every } from './every.js'
import { GuestPoller } from './guest.js'
import type { Incoming } from './incoming.js'
import { PausedResumer } from './resume-paused.js'
import type { Stats } from './stats.js'
import type { Storage } from './storage.js'
import type { Vms } from './vms.js'

type Parts = {
  vms: Vms
  storage: Storage
  stats: Stats
  incoming: Incoming
  use: UseWatch
  clock: Clock
  log: Logger
}

/** What the agent does again and again, each at its own pace, until the signal ends it. */
export function startLoops(
  { vms, storage, stats, incoming, use, clock, log }: Parts,
  signal: AbortSignal
): void {
  const guests = new GuestPoller(vms, clock, log)
  const isHealthy = (id: string) =>
    storage.states().some(state => state.storageDomainId === id && state.health === 'active')
  const ioTimeoutOf = (id: string) =>
    storage.states().find(state => state.storageDomainId === id)?.description?.ioTimeout ?? seconds(10)
  const resumer = new PausedResumer({ vms, isHealthy, ioTimeoutOf, clock, log })
  void every({ clock, log, name: 'statistics' }, seconds(1), end => stats.round(end), signal)
  void every({ clock, log, name: 'guest agents' }, seconds(1), end => guests.round(end), signal)
  void every({ clock, log, name: 'arrivals' }, seconds(10), () => incoming.round(), signal)
  void every({ clock, log, name: 'own use' }, betweenLooks, () => use.look(), signal)
  void every({ clock, log, name: 'resuming' }, seconds(2), end => resumer.round(end), signal)
}
