import { sleep, type Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { seconds } from '../../common/units.js'
import { addEvent } from '../store/events.js'
import { host, noteHost } from '../store/hosts.js'
import type { Tx } from '../store/query.js'
import type { JobTable } from './job.js'
import type { JobWorld } from './world.js'

/** The power devices of hosts, as jobs use them. */
export type Power = {
  /** What each device says. */
  read(hostId: string, signal: AbortSignal): Promise<Array<'on' | 'off' | 'unknown'>>
  /** The command only. */
  switch(hostId: string, action: 'off' | 'on', signal: AbortSignal): Promise<void>
}

export type FenceHost = { hostId: string; action: 'status' | 'off' | 'on'; states: string[] }

/** What people read of it. */
const done = { status: 'asked for its power', off: 'switched off', on: 'switched on' }

const readEvery = seconds(1)
const switchLimit = seconds(180)

/** Switches a host's power by order of a person, and says what the devices show afterwards. */
export function fenceHost({ store, clock, power }: JobWorld): JobTable<FenceHost, Tx> {
  return {
    kind: 'host.fence',
    result: ({ states, action }) => ({ power: states.join(' '), did: done[action] }),
    steps: [
      {
        name: 'switch',
        weight: 0,
        run: async ({ context: { hostId, action }, signal }) => {
          if (action !== 'status') await power.switch(hostId, action, signal)
        }
      },
      {
        name: 'confirm',
        limit: switchLimit,
        run: async ({ context: { hostId, action }, signal }) => {
          const states = await untilShown(power, hostId, action, clock, signal)
          if (states.length > 0) return { states }
          throw new Fault('WRONG_STATE', `host ${host(store.read, hostId).name} has no power device`)
        }
      }
    ]
  }
}

async function untilShown(
  power: Power,
  hostId: string,
  action: FenceHost['action'],
  clock: Clock,
  signal: AbortSignal
): Promise<string[]> {
  for (;;) {
    const states = await power.read(hostId, signal)
    if (action === 'status' || states.every(state => state === action)) return states
    await sleep(clock, readEvery, signal)
  }
}

export type ConfirmStopped = { hostId: string; reason: string; actor: string }

/** Writes a person's word down as proof; the HA loop acts on it with its next tick. */
export function confirmStopped({ clock }: JobWorld): JobTable<ConfirmStopped, Tx> {
  return {
    kind: 'host.confirm_stopped',
    steps: [
      {
        name: 'record',
        commit: (tx, { hostId, reason, actor }) => {
          const { name, health } = host(tx, hostId)
          if (health === 'up') throw new Fault('WRONG_STATE', `host ${name} is heard: it is not off`)
          noteHost(tx, hostId, { proof: 'operator' })
          const text = `${actor} confirmed that host ${name} is off: ${reason}`
          addEvent(
            tx,
            { severity: 'alert', kind: 'host.confirmed_stopped', text, objects: { host: hostId }, actor },
            clock.wall()
          )
        }
      }
    ]
  }
}
