import { runScript, type Run } from './cluster.js'
import { Random } from './random.js'
import { production, type Rules } from './rules.js'
import type { Event, HostSpec, VmSpec, WorldSpec } from './world/spec.js'

// A family draws a world and a schedule of faults from a seed; that schedule is a script like any other, so a
// run that fails can be shrunk, replayed, and kept as a scenario.

/** A dead host's lease (140 s), a boot (60 s), retries (30 s), migrations, and the time to start. */
const settle = 700

type Draw = { random: Random; spec: WorldSpec; events: Event[]; chaos: number }
type Family = {
  name: string
  /** One sentence for people: what is broken. */
  about: string
  chaos: number
  world(random: Random): WorldSpec
  faults: Array<(draw: Draw) => void>
}

const hostIds = ({ spec }: Draw): string[] => {
  const { hosts } = spec
  return Array.from({ length: typeof hosts === 'number' ? hosts : hosts.length }, (_, i) => `h${i + 1}`)
}
const vmIds = ({ spec }: Draw): string[] => spec.vms.map(({ id }) => id)

/** Swarm testing: each kind of fault is in half of the runs; then how often is drawn. */
const some =
  (most: number, give: (draw: Draw, at: number) => void) =>
  (draw: Draw): void => {
    if (draw.random.chance(0.5)) return
    const count = draw.random.between(1, most)
    for (let i = 0; i < count; i++) give(draw, draw.random.between(1, draw.chaos))
  }

const always =
  (most: number, give: (draw: Draw, at: number) => void) =>
  (draw: Draw): void => {
    const count = draw.random.between(1, most)
    for (let i = 0; i < count; i++) give(draw, draw.random.between(1, draw.chaos))
  }

const at = (draw: Draw, when: number, command: string) => void draw.events.push({ at: when, command })
/** A fault that ends after a while, or stays until everything is healed. */
function passing(
  draw: Draw,
  when: number,
  begin: string,
  end: string,
  shortest: number,
  longest: number
): void {
  at(draw, when, begin)
  if (draw.random.chance(0.8)) at(draw, when + draw.random.between(shortest, longest), end)
}
const anyHost = (draw: Draw) => draw.random.pick(hostIds(draw))
const anyVm = (draw: Draw) => draw.random.pick(vmIds(draw))

const faults = {
  crash: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    passing(draw, when, `power ${host} off`, `power ${host} on`, 5, 500)
  },
  /** A VM moves after the backup, its source forgets it, and its new host dies with whatever is restored. */
  lostMove: (draw: Draw, when: number) => {
    const vm = draw.random.pick(draw.spec.vms)
    at(draw, when, 'coordinator backup')
    at(draw, when + 2, `vm ${vm.id} migrate`)
    at(draw, when + 60, `agent ${vm.on} kill`)
    for (const host of hostIds(draw))
      if (host !== vm.on && draw.random.chance(0.5)) at(draw, when + 70, `power ${host} off`)
    at(draw, when + 75, 'coordinator restore')
  },
  /** A twin starts while VMs of a dead host are started again, and later one is restored to what it thought then. */
  rival: (draw: Draw, when: number) => {
    const ids = hostIds(draw)
    const host = draw.random.pick(ids)
    at(draw, when, `power ${host} off`)
    const second = when + draw.random.between(2, 14)
    at(draw, second, 'coordinator second')
    if (draw.random.chance(0.5))
      at(draw, second + draw.random.between(0, 4), `power ${draw.random.pick(ids)} off`)
    at(draw, when + draw.random.between(20, 60), 'coordinator backup')
    at(draw, when + draw.random.between(40, 120), `power all on`)
    at(draw, when + draw.random.between(120, 250), 'coordinator restore')
  },
  /** Proven off, switched on again, and not heard since. */
  bootedUnheard: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    const on = when + draw.random.between(20, 150)
    at(draw, when, `power ${host} off`)
    at(draw, on, `power ${host} on`)
    passing(draw, on + draw.random.between(1, 50), `network ${host} oneway`, `network ${host} on`, 150, 500)
  },
  /** The same, while nobody could see that it joined its lockspace again: the first sight of its record is no renewal. */
  bootedUnseen: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    const on = when + draw.random.between(20, 100)
    at(draw, when, 'coordinator kill')
    at(draw, when, 'storage all off')
    at(draw, when + 2, 'coordinator start')
    at(draw, when + 3, `power ${host} off`)
    at(draw, when + 4, `storage ${host} on`)
    at(draw, on, `power ${host} on`)
    at(draw, on + 5, `network ${host} oneway`)
    at(draw, on + draw.random.between(90, 200), 'storage all on')
    at(draw, on + 400, `network ${host} on`)
  },
  cable: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    const how = draw.random.pick(['off', 'off', 'oneway', 'deaf'])
    passing(draw, when, `network ${host} ${how}`, `network ${host} on`, 2, 400)
  },
  half: (draw: Draw, when: number) => {
    const ids = hostIds(draw)
    const cut = ids.slice(0, Math.ceil(ids.length / 2))
    const end = when + draw.random.between(30, 400)
    for (const id of cut) {
      at(draw, when, `network ${id} off`)
      at(draw, end, `network ${id} on`)
    }
  },
  flap: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    const what = draw.random.pick(['network', 'storage'])
    for (let time = when, i = draw.random.between(2, 8); i > 0; i--) {
      at(draw, time, `${what} ${host} off`)
      time += draw.random.between(1, 100)
      at(draw, time, `${what} ${host} on`)
      time += draw.random.between(1, 60)
    }
  },
  path: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    passing(draw, when, `storage ${host} off`, `storage ${host} on`, 3, 400)
  },
  storageAll: (draw: Draw, when: number) => passing(draw, when, 'storage all off', 'storage all on', 3, 300),
  freeze: (draw: Draw, when: number) =>
    at(draw, when, `freeze ${anyHost(draw)} ${draw.random.between(2, 300)}`),
  hang: (draw: Draw, when: number) => at(draw, when, `hang ${anyHost(draw)} ${draw.random.between(2, 300)}`),
  agent: (draw: Draw, when: number) => at(draw, when, `agent ${anyHost(draw)} kill`),
  panic: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    passing(draw, when, `panic ${host} ${draw.random.between(0, 120)}`, `power ${host} on`, 60, 300)
  },
  device: (draw: Draw, when: number) => {
    const mode = draw.random.pick(['fails', 'mute', 'deaf', 'slow'])
    at(draw, when, `device ${anyHost(draw)} ${mode}`)
  },
  lie: (draw: Draw, when: number) => at(draw, when, `device ${anyHost(draw)} lies`),
  kills: (draw: Draw) => at(draw, 0, `kills fail ${draw.random.next().toFixed(2)}`),
  vmCrash: (draw: Draw, when: number) => at(draw, when, `vm ${anyVm(draw)} crash`),
  vmCycle: (draw: Draw, when: number) => {
    const vm = anyVm(draw)
    at(draw, when, `vm ${vm} stop`)
    at(draw, when + draw.random.between(1, 60), `vm ${vm} start`)
  },
  lostStart: (draw: Draw, when: number) => {
    const vm = anyVm(draw)
    at(draw, when, `vm ${vm} stop`)
    at(draw, when + 20, `vm ${vm} start`)
    const lost = when + 20 + draw.random.between(1, 5)
    passing(draw, lost, 'network all oneway', 'network all on', 1, 200)
  },
  migrate: (draw: Draw, when: number) => at(draw, when, `vm ${anyVm(draw)} migrate`),
  coordinator: (draw: Draw, when: number) => {
    at(draw, when, 'coordinator kill')
    at(draw, when + draw.random.between(1, 90), 'coordinator start')
  },
  cutCoordinator: (draw: Draw, when: number) =>
    passing(draw, when, 'coordinator cut', 'coordinator join', 5, 200),
  second: (draw: Draw, when: number) => at(draw, when, 'coordinator second'),
  restore: (draw: Draw, when: number) => {
    at(draw, Math.floor(when / 2), 'coordinator backup')
    at(draw, when, 'coordinator restore')
  },
  confirm: (draw: Draw, when: number) => {
    // A person confirms only what is so.
    const host = anyHost(draw)
    at(draw, when, `power ${host} off`)
    at(draw, when + draw.random.between(5, 100), `host ${host} confirm`)
    at(draw, when + draw.random.between(200, 400), `power ${host} on`)
  },
  maintenance: (draw: Draw, when: number) => {
    const host = anyHost(draw)
    at(draw, when, `host ${host} maintenance`)
    at(draw, when + draw.random.between(20, 300), `host ${host} activate`)
  },
  upgrade: (draw: Draw, when: number) => at(draw, Math.floor(when / 4), 'upgrade cluster'),
  badPackage: (draw: Draw) => at(draw, 0, `upgrade ${anyHost(draw)} fails`)
}

type Shape = {
  hosts?: [number, number]
  vms?: [number, number]
  devices?: number
  leases?: number
  extra?: Partial<WorldSpec>
}

/** Hosts with power devices or without, VMs with a lease or (for some) without. */
const world =
  ({ hosts = [2, 5], vms = [2, 8], devices = 0.7, leases = 0.75, extra = {} }: Shape = {}) =>
  (random: Random): WorldSpec => {
    const count = random.between(...hosts)
    const power = random.chance(devices) ? random.pick(['one', 'one', 'two', 'ways'] as const) : 'none'
    const hasKdump = random.chance(0.2)
    const canSoftFence = random.chance(0.3)
    const specs = Array.from({ length: count }, (): HostSpec => ({ power, hasKdump, canSoftFence }))
    const list = Array.from({ length: random.between(...vms) }, (_, i): VmSpec => {
      const priority = 1 + (i % 3) * 40
      return {
        id: `v${i + 1}`,
        on: `h${(i % count) + 1}`,
        lease: random.chance(leases),
        priority,
        moves: random.between(3, 40)
      }
    })
    return { hosts: specs, vms: list, ...extra }
  }

export const families: Family[] = [
  {
    ...{
      name: 'host-loss',
      about: 'hosts lose power, panic or hang, with and without devices',
      chaos: 600,
      world: world()
    },
    faults: [
      always(2, faults.crash),
      some(1, faults.panic),
      some(1, faults.hang),
      some(1, faults.confirm),
      some(2, faults.vmCrash),
      faults.kills
    ]
  },
  {
    ...{ name: 'partitions', about: 'cables, switches and one-way links', chaos: 600, world: world() },
    faults: [
      always(3, faults.cable),
      some(1, faults.half),
      some(1, faults.crash),
      some(1, faults.path),
      faults.kills
    ]
  },
  {
    ...{ name: 'flapping', about: 'links and paths that come and go', chaos: 500, world: world() },
    faults: [
      always(2, faults.flap),
      some(2, faults.freeze),
      some(2, faults.agent),
      some(1, faults.crash),
      faults.kills
    ]
  },
  {
    ...{
      name: 'fencing',
      about: 'power devices that refuse, lose their answers, or do nothing',
      chaos: 600,
      world: world({ devices: 1 })
    },
    faults: [
      always(3, faults.device),
      always(2, faults.crash),
      some(1, faults.cable),
      some(1, faults.path),
      some(1, faults.hang),
      faults.kills
    ]
  },
  {
    name: 'lying-device',
    about:
      'a device that always says off, on hosts that are only cut off, with a gap of 30 s between the two reads',
    chaos: 500,
    world: world({ devices: 1, leases: 0.7, extra: { policy: { statusGap: 30 } } }),
    faults: [
      always(2, faults.lie),
      always(2, (draw, when) =>
        passing(draw, when, `network ${anyHost(draw)} off`, 'network all on', 20, 300)
      )
    ]
  },
  {
    ...{
      name: 'storage',
      about: 'storage lost on some hosts, or on all',
      chaos: 600,
      world: world({ extra: { hasManager: true } })
    },
    faults: [
      always(3, faults.path),
      some(1, faults.storageAll),
      some(1, faults.crash),
      some(1, faults.cable),
      some(2, faults.vmCrash),
      faults.kills
    ]
  },
  {
    ...{
      name: 'coordinators',
      about: 'the coordinator dies, is cut off, has a twin on a copy, or is restored',
      chaos: 600,
      world: world()
    },
    faults: [
      some(3, faults.coordinator),
      some(1, faults.cutCoordinator),
      some(1, faults.second),
      some(1, faults.restore),
      always(1, faults.crash),
      some(1, faults.cable),
      some(3, faults.agent),
      some(2, faults.vmCycle),
      some(1, faults.migrate),
      some(1, faults.lostMove)
    ]
  },
  {
    ...{
      name: 'maintenance',
      about: 'hosts are emptied while others fail',
      chaos: 500,
      world: world({ hosts: [3, 5] })
    },
    faults: [
      always(2, faults.maintenance),
      some(1, faults.crash),
      some(1, faults.cable),
      some(1, faults.coordinator),
      some(1, faults.path),
      some(2, faults.vmCycle)
    ]
  },
  {
    ...{
      name: 'migration',
      about: 'hosts, links and the coordinator fail in the middle of migrations',
      chaos: 400,
      world: world({ hosts: [2, 4] })
    },
    faults: [
      always(8, faults.migrate),
      some(1, faults.crash),
      some(2, faults.cable),
      some(1, faults.coordinator),
      some(1, faults.agent),
      some(1, faults.path),
      some(2, faults.vmCycle)
    ]
  },
  {
    ...{
      name: 'upgrade',
      about: 'a rolling upgrade with failures',
      chaos: 900,
      world: world({ hosts: [3, 4], vms: [2, 6] })
    },
    faults: [
      always(1, faults.upgrade),
      some(1, faults.badPackage),
      some(1, faults.crash),
      some(1, faults.cable),
      some(1, faults.coordinator)
    ]
  },
  {
    name: 'two-victims',
    about: 'two hosts of many need fencing at the same time',
    chaos: 500,
    world: world({ hosts: [5, 7], devices: 1, vms: [3, 8] }),
    faults: [
      (draw: Draw) => {
        const when = draw.random.between(1, 380)
        for (const host of ['h1', 'h2']) {
          const at2 = when + draw.random.between(0, 20)
          at(draw, at2, `network ${host} off`)
          at(draw, at2, `storage ${host} off`)
        }
      },
      some(2, faults.device)
    ]
  },
  {
    name: 'replies',
    about: 'answers get lost: commands have effects that nobody hears of',
    chaos: 500,
    world: world({ hosts: [2, 4], leases: 0.4 }),
    faults: [
      always(3, faults.lostStart),
      some(6, faults.vmCycle),
      always(4, (draw, when) => {
        const host = anyHost(draw)
        passing(draw, when, `network ${host} oneway`, `network ${host} on`, 2, 200)
      }),
      some(1, faults.crash),
      some(1, faults.coordinator),
      some(2, faults.migrate)
    ]
  },
  {
    name: 'twins',
    about: 'a second coordinator runs on a copy of the store, both are asked for things, or one is restored',
    chaos: 500,
    world: world({ hosts: [2, 4], leases: 0.5 }),
    faults: [
      always(1, faults.second),
      always(6, faults.vmCycle),
      some(2, faults.crash),
      some(1, faults.restore),
      some(1, faults.rival),
      some(2, faults.migrate)
    ]
  },
  {
    ...{
      name: 'manager',
      about: 'the storage domain manager hangs, is cut off or dies',
      chaos: 600,
      world: world({ hosts: [2, 4], vms: [0, 0], extra: { hasManager: true } })
    },
    faults: [
      always(3, faults.hang),
      some(2, faults.path),
      some(1, faults.crash),
      some(1, faults.flap),
      some(2, faults.bootedUnheard),
      some(1, faults.bootedUnseen),
      faults.kills
    ]
  },
  {
    ...{
      name: 'everything',
      about: 'all of it at once',
      chaos: 700,
      world: world({ hosts: [3, 6], extra: { hasManager: true } })
    },
    faults: [
      ...[
        some(2, faults.crash),
        some(2, faults.cable),
        some(1, faults.flap),
        some(1, faults.path),
        some(1, faults.freeze),
        some(1, faults.hang)
      ],
      ...[
        some(2, faults.device),
        some(1, faults.coordinator),
        some(2, faults.migrate),
        some(1, faults.maintenance),
        some(2, faults.vmCycle),
        faults.kills
      ]
    ]
  }
]

export function familyOf(name: string): Family {
  const found = families.find(family => family.name === name)
  if (!found) throw new Error(`no family or scenario "${name}"`)
  return found
}

/** What a seed means: a world, and a script that ends with the healing and the check. */
export function drawRun(family: Family, seed: number): { spec: WorldSpec; script: Event[]; until: number } {
  const random = new Random(seed).for(family.name)
  const draw: Draw = { random, spec: family.world(random.for('world')), events: [], chaos: family.chaos }
  for (const fault of family.faults) fault(draw)
  const end = family.chaos
  // Faults begin before the end; what would end later is ended by the healing.
  const script = draw.events.filter(event => event.at < end).toSorted((a, b) => a.at - b.at)
  const until = end + settle
  script.push({ at: end, command: 'heal' }, { at: until, command: 'expect clean' })
  return { spec: draw.spec, script, until }
}

/** Chaos with the safety invariants checked every second, then healing, then liveness. */
export async function runFamily(family: Family, seed: number, rules: Rules = production): Promise<Run> {
  const { spec, script, until } = drawRun(family, seed)
  return runScript(spec, script, until, rules, seed, true)
}
