import t from 'tap'
import type { Answer } from '../agent/client.js'
import { skipped } from '../storage/block-world.js'
import { GiB, thinAgents, thinVm, until } from './agents-world.js'

// Thin disks through two whole agents: guests that really write, the network with mutual TLS and a cable that is cut,
// a manager's agent that is killed.

t.setTimeout(580_000)

t.test(
  'a thin disk grows ahead of its guest, whoever manages and whatever is cut',
  { skip: skipped },
  async t => {
    const world = await thinAgents()
    t.teardown(() => world.end())
    const { a, b, cables, store, volume } = world
    // Each grows in one piece: what stands in for device-mapper wants that.
    const ofManager = await volume(a, 4 * GiB)
    const gap = await volume(a, 4 * GiB, {
      format: 'DISK_FORMAT_RAW',
      allocation: 'ALLOCATION_POLICY_PREALLOCATED'
    })
    const place = await volume(a, 12 * GiB)
    await store(a, 'RemoveImage', { imageId: gap.imageId })
    const [managers, vm] = await Promise.all([thinVm(world, a, ofManager), thinVm(world, b, place)])
    const { guest } = vm
    const isPaused = async () => /^paused/.test(await guest.state())

    await t.test('nobody manages the storage domain: the host that needs room does', async t => {
      await managers.guest.writeTo(128)
      t.match(await managers.grow(), [{ way: 'here', from: 512 * 2 ** 20 }])
    })

    await t.test('another host asks it over the network', async t => {
      await guest.writeTo(128)
      // The first handshake may take so long that the mailbox is written as well, and answered first.
      let last = (await vm.grow()).at(-1)
      for (let n = 0; n < 5 && last?.way !== 'fast'; n++) last = (await vm.grow()).at(-1)
      t.equal(last?.way, 'fast')
      const shown = await b.coordinator.call('thin', 'GetThinDisk', { diskId: vm.diskId })
      t.match(shown, { phase: 'THIN_PHASE_ARMED', lastWay: 'EXTEND_WAY_NETWORK', storageDomainFull: false })
      t.equal(Number(shown['headroomBytes']), shown['sizeBytes'] - shown['writtenBytes'])
      const { times } = await b.coordinator.call('thin', 'GetExtendTimes')
      t.ok(times.some(({ way, count }: Answer) => way === 'EXTEND_WAY_NETWORK' && Number(count) > 0))
      t.notOk(await isPaused())
    })

    await t.test('with the network dead it asks over the storage', async t => {
      cables[0]?.cut()
      const [first] = await vm.grow()
      t.equal(first?.way, 'mailbox')
      cables[0]?.mend()
      t.notOk(await isPaused())
    })

    await t.test('the manager dies: the host that needs room takes the role over', async t => {
      await a.world.agentEnds('SIGKILL')
      const [first] = await vm.grow()
      t.match(first?.way, /here|mailbox/)
      t.equal((await vm.grow()).at(-1)?.way, 'here')
    })
  }
)
