import { pino } from 'pino'
import t from 'tap'
import { type ManagerView, Ways, type WaysParts } from '../../../agent/extender/ways.js'
import { Fault } from '../../../common/fault.js'
import { bytes, MiB, seconds } from '../../../common/units.js'
import type { ExtendedVolume } from '../../../storage/extend-volumes.js'

const wanted = { storageDomainId: 'sd', volumeId: 'v', to: MiB(5120) }
const never = () => new Promise<never>(() => {})
const none = new AbortController().signal
const done: ExtendedVolume = { volumeId: 'v', size: MiB(5120), failure: null }

type Change = Partial<WaysParts['worker']> & { peer?: WaysParts['peer']; view: ManagerView }

/** Time goes by at once: whoever waits for later is called in the next turn. */
function world({ view, peer, ...worker }: Change) {
  const asked: string[] = []
  const waysParts: WaysParts = {
    worker: {
      extend: async () => (asked.push('extend'), done),
      askManager: async () => (asked.push('mailbox'), true),
      manager: async () => (asked.push('look'), view),
      takeManager: async () => void asked.push('take'),
      ...worker
    },
    peer: peer ?? (async () => (asked.push('peer'), MiB(5120))),
    hostIdOf: number => (number === 2 ? 'host2' : null),
    ownHostId: () => 'host1',
    clock: {
      monotonic: () => seconds(0),
      wall: () => 0,
      random: () => 0,
      newId: () => 'id',
      after: (delay, run) => {
        const timer = setTimeout(run, delay * 20)
        return () => clearTimeout(timer)
      }
    },
    log: pino({ level: 'silent' })
  }
  return { ways: new Ways(waysParts), asked }
}

const here: ManagerView = { isManager: true, ownerSanlockHostId: 1 }
const there: ManagerView = { isManager: false, ownerSanlockHostId: 2 }
const nobody: ManagerView = { isManager: false, ownerSanlockHostId: null }
const stranger: ManagerView = { isManager: false, ownerSanlockHostId: 77 }
const unreachable = async () => Promise.reject(new Fault('HOST_UNREACHABLE', 'no route'))

t.test('the manager is this host: no way out of it is taken', async t => {
  const { ways, asked } = world({ view: here })
  t.equal(await ways.extend(wanted, none), 'here')
  t.strictSame(asked, ['look', 'extend'])
})

t.test('the manager answers over the network: the mailbox is not written', async t => {
  const { ways, asked } = world({ view: there })
  t.equal(await ways.extend(wanted, none), 'fast')
  t.strictSame(asked, ['look', 'peer'])
})

t.test('who manages is looked up once', async t => {
  const { ways, asked } = world({ view: there })
  await ways.extend(wanted, none)
  await ways.extend(wanted, none)
  t.strictSame(asked, ['look', 'peer', 'peer'])
})

t.test('a manager that has just handed the role over says to whom: that host is asked at once', async t => {
  const refused = new Fault('NOT_MANAGER', 'not here', { facts: { successorHostId: 'host3' } })
  const peers: string[] = []
  const { ways, asked } = world({
    view: there,
    askManager: never,
    peer: async hostId => {
      peers.push(hostId)
      if (hostId === 'host2') throw refused
      return MiB(5120)
    }
  })
  t.equal(await ways.extend(wanted, none), 'fast')
  t.strictSame(peers, ['host2', 'host3'])
  t.strictSame(asked, ['look'])
  await ways.extend(wanted, none)
  t.strictSame(asked, ['look', 'look'], 'and who manages is looked up again')
})

t.test('two hosts that send on to each other are not asked for ever', async t => {
  const other = (hostId: string) => (hostId === 'host2' ? 'host3' : 'host2')
  const refused = (hostId: string) =>
    new Fault('NOT_MANAGER', 'not here', { facts: { successorHostId: other(hostId) } })
  const peers: string[] = []
  const { ways } = world({
    view: there,
    peer: async hostId => {
      peers.push(hostId)
      throw refused(hostId)
    }
  })
  t.equal(await ways.extend(wanted, none), 'mailbox')
  t.strictSame(peers.slice(0, 2), ['host2', 'host3'])
})

t.test('the network is cut: the mailbox at once, and the manager is looked up again', async t => {
  const { ways, asked } = world({ view: there, peer: unreachable })
  t.equal(await ways.extend(wanted, none), 'mailbox')
  await ways.extend(wanted, none)
  t.equal(asked.filter(what => what === 'look').length, 2)
})

t.test('the network is silent: the mailbox after a moment', async t => {
  const { ways } = world({ view: there, peer: never })
  t.equal(await ways.extend(wanted, none), 'mailbox')
})

t.test('a manager whose host is not known is asked by the mailbox', async t => {
  const { ways, asked } = world({ view: stranger })
  t.equal(await ways.extend(wanted, none), 'mailbox')
  t.strictSame(asked, ['look', 'mailbox'])
})

t.test('nobody manages: this host takes the role', async t => {
  const { ways, asked } = world({ view: nobody, askManager: never })
  t.equal(await ways.extend(wanted, none), 'here')
  t.strictSame(asked, ['look', 'take', 'extend'])
})

t.test('nobody manages, and another host is quicker in taking the role: the mailbox reaches it', async t => {
  const { ways, asked } = world({ view: nobody, takeManager: never })
  t.equal(await ways.extend(wanted, none), 'mailbox')
  t.strictSame(asked, ['look', 'mailbox'])
})

t.test('a manager who answers nothing by any way is followed by this host', async t => {
  const { ways, asked } = world({ view: there, peer: unreachable, askManager: never })
  t.equal(await ways.extend(wanted, none), 'here')
  t.ok(asked.includes('take'))
})

t.test('a full storage domain is an answer: no other way is waited for', async t => {
  const full = async () => Promise.reject(new Fault('STORAGE_DOMAIN_FULL', 'no extents'))
  const { ways } = world({ view: there, peer: full, askManager: never, takeManager: never })
  await t.rejects(ways.extend(wanted, none), new Fault('STORAGE_DOMAIN_FULL', 'no extents'))
})

t.test('here too', async t => {
  const extend = async (): Promise<ExtendedVolume> => {
    return { volumeId: 'v', size: bytes(0), failure: { reason: 'STORAGE_DOMAIN_FULL', text: 'no extents' } }
  }
  const { ways } = world({ view: here, extend })
  await t.rejects(ways.extend(wanted, none), new Fault('STORAGE_DOMAIN_FULL', 'no extents'))
})

t.test('the caller who gives up is let go', async t => {
  const { ways } = world({ view: there, peer: never, askManager: never, takeManager: never })
  const end = new AbortController()
  const asked = ways.extend(wanted, end.signal)
  end.abort(new Error('enough'))
  await t.rejects(Promise.race([asked, new Promise(resolve => setTimeout(resolve, 2000))]), /enough/)
})
