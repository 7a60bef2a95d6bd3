import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { coordinatorServices } from '../../../proto/load.js'
import { vmOrNull } from '../../../coordinator/store/vms.js'
import { coordinatorWorld, failure } from '../../coordinator/world.js'

t.setTimeout(120_000)

const { cluster, coordinator, event } = coordinatorServices

t.test(
  'with no space left: changes are refused, reads work, nothing is damaged, and it recovers by itself',
  async t => {
    const mount = mkdtempSync(join(tmpdir(), 'drover-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', mount])
    // Registered first, so it runs last: the coordinator has ended by then.
    t.teardown(() => {
      execFileSync('umount', ['-l', mount])
      rmSync(mount, { recursive: true, force: true })
    })
    mkdirSync(join(mount, 'state'))
    const world = await coordinatorWorld(t, { state_directory: join(mount, 'state') })
    const clusterId = await world.createCluster('before')
    const agent = await world.addHost(clusterId, 'a')

    const ballast = join(mount, 'ballast')
    const { bavail, bsize } = statfsSync(mount)
    writeFileSync(ballast, Buffer.alloc(bavail * bsize))

    const create = (name: string) => world.mutate(cluster.CreateCluster, { cluster: { name } })
    let refused: unknown = null
    for (let n = 0; n < 500 && refused === null; n++) {
      await create(`c${n}`).catch((error: unknown) => (refused = error))
    }
    t.match(refused, { reason: 'STORE_FULL', status: 'RESOURCE_EXHAUSTED' })
    t.match(await world.call(cluster.GetCluster, { clusterId }), { name: 'before' })
    t.match(await world.call(coordinator.GetCoordinator, {}), { readOnly: true })
    const vm = { vmId: '55555555-5555-4555-8555-555555555555', name: 'seen while full', foreign: 'external' }
    agent.setVm({ ...vm, status: 'VM_STATUS_UP', vmGeneration: '0', exitReason: '' })
    t.match(await failure(create('still-full')), { reason: 'STORE_FULL' })
    t.ok(world.running.agents.isReady(agent.hostId), 'the host is heard all the same')

    rmSync(ballast)
    await world.until(async () => !(await world.call(coordinator.GetCoordinator, {})).readOnly)
    t.match(await create('after'), { name: 'after' })
    await world.until(() => vmOrNull(world.read, vm.vmId) !== null)
    t.strictSame(world.running.store.integrity(), [])
    t.match(await world.call(event.VerifyAuditTrail, {}), { firstBadSequence: '0' })
  }
)
