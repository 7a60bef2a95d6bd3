import type { DeviceMode } from './world/machine.js'
import type { SimCluster } from './cluster.js'
import { hostRow, vmRow } from './world/records.js'

// The verbs of scripts. "H" is a host, or `all`, or `h2..h5`; "V" a VM.
//
//   power H off|on            network H off|on|oneway|deaf       storage H off|on
//   freeze H SECONDS          hang H SECONDS                     agent H kill
//   panic H SECONDS           device H works|fails|mute|deaf|lies|slow
//   vm V crash|start|stop|migrate [H]                            kills fail SHARE
//   host H maintenance|activate|confirm                          upgrade cluster      upgrade H fails|works
//   coordinator kill|start|cut|join|backup|restore|second        heal
//   expect V on H|up|down     expect H HEALTH                    expect clean

const forever = 1e9
const devices: readonly string[] = ['works', 'fails', 'mute', 'deaf', 'lies', 'slow'] satisfies DeviceMode[]

export function give(cluster: SimCluster, command: string): void {
  const { world } = cluster
  if (!command.startsWith('expect')) world.tell(`> ${command}`)
  const [verb = '', ...words] = command.split(' ')
  const [object = '', what = '', more = ''] = words
  switch (verb) {
    case 'heal':
      world.heal()
      return cluster.heal()
    case 'coordinator':
      return cluster.rule(object)
    case 'upgrade':
      if (object === 'cluster') return void cluster.ruler?.jobs.order('upgrade', {})
      return eachHost(cluster, object, host => (host.upgradeFails = what === 'fails'))
    case 'kills':
      world.killFails = Number(what)
      return
    case 'vm':
      return toVm(cluster, object, what, more)
    case 'host':
      return eachHost(cluster, object, ({ id }) => toHost(cluster, id, what))
    case 'expect':
      return expect(cluster, object, what, more)
    default:
      return eachHost(cluster, object, host => toMachine(cluster, host, verb, what))
  }
}

type Machine = ReturnType<SimCluster['world']['machine']>

function eachHost({ world }: SimCluster, name: string, act: (host: Machine) => void): void {
  const all = [...world.machines.values()]
  if (name === 'all') return all.forEach(act)
  const [first = '', last] = name.split('..')
  if (last === undefined) return act(world.machine(first))
  const ids = all.map(({ id }) => id)
  all.slice(ids.indexOf(first), ids.indexOf(last) + 1).forEach(act)
}

function toMachine({ world }: SimCluster, host: Machine, verb: string, what: string): void {
  switch (verb) {
    case 'power':
      return what === 'on' ? world.powerOn(host) : world.powerLoss(host, 'power cut')
    case 'network':
      host.netIn = what === 'on' || what === 'oneway'
      host.netOut = what === 'on' || what === 'deaf'
      return
    case 'storage':
      return setStorage(world, host, what === 'on')
    case 'freeze':
      host.frozenUntil = world.now + (Number(what) || forever)
      return
    case 'hang':
      host.hungUntil = world.now + (Number(what) || forever)
      return
    case 'agent':
      return world.killAgent(host)
    case 'panic':
      world.powerLoss(host, 'panic')
      host.dumpsUntil = world.now + Number(what)
      return
    case 'device':
      if (!devices.includes(what)) throw new Error(`a device does not "${what}"`)
      host.device = what as DeviceMode
      return
    default:
      throw new Error(`no verb "${verb}"`)
  }
}

/** Guests whose disks are gone are paused, and go on when they are back; sanlock ends those with a lease later. */
function setStorage(world: SimCluster['world'], host: Machine, isThere: boolean): void {
  if (host.storage === isThere) return
  host.storage = isThere
  host.changes++
  for (const copy of world.copies) {
    if (copy.host !== host.id) continue
    if (isThere && copy.state === 'paused') copy.state = 'running'
    else if (!isThere && copy.state === 'running') copy.state = 'paused'
  }
}

function toVm(cluster: SimCluster, vm: string, what: string, more: string): void {
  const { world, ruler } = cluster
  if (what === 'crash') return world.end(copy => copy.vm === vm && copy.state !== 'arriving', 'crashed')
  if (!ruler || ruler.jobs.claims(vm)) return
  const row = vmRow(ruler.records, vm)
  if (what === 'migrate') {
    if (row.status === 'up') ruler.jobs.order('migrate', { vm, target: more || null })
  } else if (what === 'stop') {
    world.wanted.set(vm, false)
    row.wantedRunning = false
    ruler.jobs.order('stop', { vm })
  } else if (what === 'start') {
    world.wanted.set(vm, true)
    if (row.status === 'down') ruler.jobs.order('start', { vm })
  } else throw new Error(`a VM does not "${what}"`)
}

function toHost({ ruler }: SimCluster, id: string, what: string): void {
  if (!ruler) return
  const row = hostRow(ruler.records, id)
  if (what === 'maintenance') {
    if (row.mode === 'active') ruler.jobs.order('evacuate', { host: id })
  } else if (what === 'activate') {
    if (row.mode === 'maintenance') ruler.jobs.order('activate', { host: id })
  } else if (what === 'confirm') {
    if (row.health !== 'up') row.proof = 'operator'
  } else throw new Error(`a host does not "${what}"`)
}

function expect(cluster: SimCluster, object: string, what: string, more: string): void {
  const { world, ruler } = cluster
  if (object === 'clean') return cluster.checkLiveness()
  const fail = (saw: string) => world.find('expected', `${object} ${what} ${more}`.trim() + `, saw ${saw}`)
  if (world.machines.has(object)) {
    const health = ruler ? hostRow(ruler.records, object).health : 'no coordinator'
    if (health !== what) fail(health)
    return
  }
  const where = world.copies
    .filter(copy => copy.vm === object && copy.state !== 'arriving')
    .map(({ host }) => host)
  if (what === 'down' && where.length > 0) fail(`it on ${where.join(' and ')}`)
  if (what === 'up' && where.length !== 1) fail(`${where.length} copies`)
  if (what === 'on' && (where.length !== 1 || where[0] !== more)) fail(where.join(' and ') || 'it down')
}
