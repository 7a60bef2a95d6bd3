import { HaWorld, production, type Faults, type Finding, type Rules } from './ha-world.js'
import { Random } from './random.js'

const chaos = 900
/** A dead host's lease (140 s), a boot (60 s), a retry (300 s), and the time to start. */
const settle = 700

/** Swarm testing: each run first draws which faults exist in it, then how often. */
function drawFaults(random: Random): Faults {
  const rate = (most: number) => (random.chance(0.5) ? random.next() * most : 0)
  return {
    hostCrash: rate(1 / 300),
    cable: rate(1 / 60),
    storagePath: rate(1 / 120),
    storageAll: rate(1 / 900),
    coordinatorCrash: rate(1 / 120),
    fenceFails: rate(0.9),
    fenceReplyLost: rate(0.5),
    killFails: rate(0.5),
    hasFenceDevices: random.chance(0.7)
  }
}

export type Run = { seed: number; findings: Finding[]; trace: string[] }

/** Chaos with the safety invariants checked every second, then healing, then liveness. */
export function runHa(seed: number, rules: Rules = production): Run {
  const random = new Random(seed)
  const faults = drawFaults(random.for('faults'))
  const world = new HaWorld(rules, faults, random.for('world'), random.between(2, 5), random.between(2, 8))
  for (let i = 0; i < chaos && world.findings.length === 0; i++) world.tick(true)
  world.heal()
  for (let i = 0; i < settle && world.findings.length === 0; i++) world.tick(false)
  if (world.findings.length === 0) world.checkLiveness()
  return { seed, findings: world.findings, trace: world.trace }
}
