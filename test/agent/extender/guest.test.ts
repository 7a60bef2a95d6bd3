import fc from 'fast-check'
import t from 'tap'
import { type Drive, type DriveEvent, newDrive, stepDrive } from '../../../agent/extender/decide.js'
import { adaptivePolicy, limitOf, slowerOf, type ThinPolicy } from '../../../agent/extender/policy.js'
import { type Bytes, bytes, GiB, MiB, type Seconds, seconds } from '../../../common/units.js'
import { roundUpLikeVdsm } from '../../../storage/format/volume-sizes.js'

// A guest that writes, in virtual time: the machine sees of it what libvirt would tell, and its extends take a
// time of their own. The guest stops at the end of its volume and goes on only when it is resumed.

type World = {
  rate: number
  extendTime: Seconds
  policy: ThinPolicy
  capacity: Bytes
  /** From when to when the storage domain has no room. */
  full: [from: number, until: number]
  losesEvents: boolean
  until: number
}
type Outcome = {
  pauses: number
  latePauses: number
  written: number
  largest: number
  isPaused: boolean
  extends: number
}

const tick = 2

// eslint-disable-next-line max-lines-per-function -- one loop over what happens next
function simulate(world: World): Outcome {
  const { rate, policy, capacity, full } = world
  let now = 0
  let extendTime = seconds(0.1)
  let drive: Drive = newDrive
  let physical: number = MiB(2560)
  let written = 0
  let threshold: number | null = null
  let busy = null as { to: Bytes; since: number; end: number } | null
  let nextTick = 0
  let isPaused = false
  const outcome = { pauses: 0, latePauses: 0, largest: physical, extends: 0 }

  const feed = (event: DriveEvent): void => {
    const at = { now: seconds(now), policy, extendTime, isMirrored: false }
    const step = stepDrive(drive, event, at)
    drive = step.drive
    for (const action of step.actions) {
      if (action.kind === 'ask') {
        feed({
          kind: 'usage',
          usage: { capacity, physical: bytes(physical), allocation: bytes(Math.floor(written)) }
        })
      } else if (action.kind === 'extend') {
        if (busy !== null) throw new Error('two extends at a time')
        busy = { to: action.to, since: now, end: now + world.extendTime }
      } else if (action.kind === 'arm') {
        threshold = action.threshold
      } else if (action.kind === 'resume') {
        isPaused = false
        feed({ kind: 'running' })
      }
    }
  }

  while (now < world.until && written < capacity) {
    // The next thing that happens: the guest reaches something, an extend ends, the sweep comes.
    const speed = isPaused ? 0 : rate
    const reach = (mark: number) =>
      speed === 0 || mark <= written ? Infinity : now + (mark - written) / speed
    const events: Array<[number, () => void]> = [
      [nextTick, () => ((nextTick += tick), feed({ kind: 'tick' }))],
      [reach(physical), () => undefined],
      [reach(capacity), () => undefined]
    ]
    if (threshold !== null)
      events.push([threshold < written && speed > 0 ? now : reach(threshold), () => undefined])
    if (busy !== null) events.push([busy.end, () => undefined])
    const when = Math.max(now, Math.min(...events.map(([time]) => time)))
    written = Math.min(written + speed * (when - now), capacity)
    if (capacity - written < 1) written = capacity
    if (Math.abs(written - physical) < 1) written = physical
    if (threshold !== null && Math.abs(written - threshold) < 1) written = threshold
    now = when
    if (busy !== null && busy.end <= now) {
      const done = busy
      busy = null
      extendTime = slowerOf(extendTime, seconds(now - done.since))
      const isFull = now >= full[0] && now < full[1]
      if (isFull) feed({ kind: 'failed', isFull: true })
      else {
        physical = roundUpLikeVdsm(done.to, MiB(128))
        outcome.extends++
        outcome.largest = Math.max(outcome.largest, physical)
        feed({ kind: 'extended', size: bytes(physical) })
      }
    }
    if (threshold !== null && written >= threshold && !isPaused) {
      const fired = bytes(threshold)
      threshold = null
      if (!world.losesEvents) {
        feed({ kind: 'threshold', threshold: fired, excess: bytes(Math.floor(written - fired)) })
      }
    }
    if (written >= physical && !isPaused && written < capacity) {
      isPaused = true
      outcome.pauses++
      if (outcome.extends >= 5) outcome.latePauses++
      feed({ kind: 'noSpace' })
    }
    if (nextTick <= now) {
      nextTick += tick
      feed({ kind: 'tick' })
    }
  }
  return { ...outcome, written, isPaused }
}

const none: [number, number] = [0, 0]
const base: World = {
  ...{ rate: MiB(1024), extendTime: seconds(0.05), policy: adaptivePolicy, capacity: GiB(64), full: none },
  ...{ losesEvents: false, until: 3600 }
}
const rates = fc.integer({ min: 8, max: 3000 }).map(MiB)
const times = fc.integer({ min: 5, max: 3000 }).map(ms => seconds(ms / 1000))

t.test('a guest that writes no faster than the room lasts never stops', async t => {
  fc.assert(
    fc.property(rates, times, (rate, extendTime) => {
      const outcome = simulate({ ...base, rate, extendTime })
      const { chunk, free } = adaptivePolicy
      // What may be known before the first extend is a tenth of a second; the first room is what that asks for.
      const isForeseen = rate * extendTime <= MiB(307)
      const canBeMet = rate * extendTime * 3 <= Math.min(chunk.most, free.most)
      return (!isForeseen || outcome.pauses === 0) && (!canBeMet || outcome.latePauses === 0)
    }),
    { numRuns: 100, seed: 1 }
  )
})

t.test('a guest that does stop goes on until all is written, and no disk outgrows its limit', async t => {
  fc.assert(
    fc.property(rates, times, fc.boolean(), (rate, extendTime, losesEvents) => {
      const outcome = simulate({ ...base, rate, extendTime, losesEvents, capacity: GiB(16), until: 20000 })
      return outcome.written >= GiB(16) && outcome.largest <= limitOf(GiB(16))
    }),
    { numRuns: 100, seed: 2 }
  )
})

t.test('a guest on a full storage domain waits, and goes on when there is room', async t => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 300 }), (rate, length) => {
      const outcome = simulate({ ...base, rate, full: [1, 1 + length], capacity: GiB(16), until: 20000 })
      return outcome.written >= GiB(16) && !outcome.isPaused
    }),
    { numRuns: 50, seed: 3 }
  )
})

t.test('chunks of 128 MiB hold 1 GiB/s with extends of 30 ms', async t => {
  const policy = { ...adaptivePolicy, chunk: { least: MiB(128), most: MiB(128) } }
  const outcome = simulate({ ...base, policy, extendTime: seconds(0.03) })
  t.equal(outcome.pauses, 0)
  t.ok(outcome.extends > 300)
})
