import t from 'tap'
import { coordinatorServices } from '../../proto/load.js'
import { coordinatorWorld } from '../coordinator/world.js'
import { drover } from './drover.js'

t.setTimeout(60_000)
const { vm: vms } = coordinatorServices
const wwid = '3600a098038303053453f463045727a51'

t.test('a LUN is given to a VM and taken from it by the command line, as its options say', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const host = await world.addHost(clusterId, 'a')
  host.luns = [
    { wwid, state: 'LUN_STATE_FREE', sizeBytes: String(2 ** 40), vendor: 'NETAPP', product: 'LUN' }
  ]
  await world.mutate(vms.CreateVm, { vm: { name: 'db', clusterId } })
  const command = (...args: string[]) => drover(world.config.socket, ['vm', ...args])
  const luns = async () => (await world.call(vms.GetVm, { vmId: 'db' })).luns

  const odd = await command('attach-lun', 'db', wwid, '--reservations')
  t.match(odd.err, /reservations.*needs passthrough/s)
  t.not(odd.code, 0)
  const given = await command('attach-lun', 'db', wwid, '--passthrough', '--reservations', '--shareable')
  t.match(given, { out: `attached LUN ${wwid} to VM db\n`, code: 0 })
  t.match(await luns(), [
    { wwid, bus: 'DISK_BUS_SCSI', passthrough: true, reservations: true, shareable: true, readOnly: false }
  ])
  t.match((await command('show', 'db')).out, new RegExp(wwid))
  t.match(await command('detach-lun', 'db', wwid), { out: `detached LUN ${wwid} from VM db\n`, code: 0 })
  t.strictSame(await luns(), [])
})
