import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Connection } from '../../libvirt/connection.js'
import { procedures as p } from '../../libvirt/procedures.js'
import { FakeLibvirtd } from './fake-libvirtd.js'
import { until } from './manual-clock.js'

const dom = { name: '', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: -1 }

t.test(
  'like the real one, it reads nothing from a client with five calls outstanding, pings neither',
  async t => {
    await using daemon = await FakeLibvirtd.start()
    const options = { socketPath: daemon.path, uri: 'qemu:///system' }
    const connection = await Connection.open(options, AbortSignal.timeout(5000))
    const other = await Connection.open(options, AbortSignal.timeout(5000))
    const free = daemon.hold(p.domainSuspend, {})
    const suspends = Array.from({ length: 5 }, () => connection.call(p.domainSuspend, { dom }))
    await until('five', () => daemon.calls.filter(({ procedure }) => procedure.number === 34).length === 5)
    let answered = false
    const sixth = connection.call(p.connectGetLibVersion, {}).then(() => (answered = true))
    connection.ping()
    await other.call(p.connectGetLibVersion, {})
    await setImmediate()
    t.notOk(answered)
    t.equal(connection.ping(), 1, 'the first ping has no answer')
    free()
    await Promise.all([...suspends, sixth])
    await until('the pong', () => connection.ping() === 0)
    connection.close()
    other.close()
  }
)
