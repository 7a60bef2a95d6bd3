import t from 'tap'
import { GiB, MiB } from '../../../common/units.js'
import { skipped } from '../storage/block-world.js'
import { never, smallChunks, storageDomainId, thinGuest, twoHosts, until } from './thin-world.js'

// From the event of libvirt to the next threshold, over two hosts: nothing here is simulated but the guest's
// operating system.

t.setTimeout(240_000)

t.test('a thin disk grows ahead of its guest', { skip: skipped }, async t => {
  const hosts = await twoHosts({ size: GiB(16) })
  t.teardown(() => hosts.end())
  await hosts.one.ask(storageDomainId, 'takeManager', {}, never)
  const guest = await thinGuest(hosts, smallChunks, GiB(4))
  const { extender, armed, write, usage, show } = guest
  const grow = async () => {
    const before = show()?.history.length ?? 0
    for (let i = 0; i < 200 && show()?.history.length === before; i++) await write()
    await until('the disk was extended', () => (show()?.history.length ?? 0) > before)
    await until('armed', () => show()?.drive.phase === 'armed')
    // A machine that is slow extends a second time before it arms.
    return { first: show()?.history[before], last: show()?.history.at(-1) }
  }

  await t.test('the sweep finds it and sets the first threshold', async t => {
    await extender.round(never)
    await until('armed', () => armed.length > 0)
    t.equal(armed[0]?.threshold, MiB(128 - 64))
  })

  await t.test('the event extends it by the network, and QEMU sees the new size', async t => {
    let { first, last } = await grow()
    t.equal(first?.from, MiB(128))
    // The mailbox may win while a slow machine still shakes hands.
    for (let i = 0; i < 3 && first?.way !== 'fast'; i++) ({ first, last } = await grow())
    t.equal(first?.way, 'fast')
    t.equal((await usage()).physical, last?.to)
    t.ok((first?.to ?? 0) >= MiB(256))
    t.equal((await guest.guest.state(never)).state, 'running')
  })

  await t.test('with the network cut the mailbox does the same', async t => {
    hosts.network.isCut = true
    // How large a step is follows from how long the one before took.
    const { first } = await grow()
    t.equal(first?.way, 'mailbox')
    t.ok((first?.to ?? 0) > (first?.from ?? 0))
    hosts.network.isCut = false
  })

  await t.test('a new manager serves the mailbox when the old one is gone', async t => {
    await hosts.one.ask(storageDomainId, 'giveUpManager', {}, never)
    const { first } = await grow()
    t.ok((first?.to ?? 0) > (first?.from ?? 0))
    t.ok((await hosts.two.ask(storageDomainId, 'managerState', {}, never)).isManager || first?.way === 'fast')
  })
})
