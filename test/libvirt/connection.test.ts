import t from 'tap'
import { Fault } from '../../common/fault.js'
import { Connection } from '../../libvirt/connection.js'
import { isVirError } from '../../libvirt/errors.js'
import { procedures as p } from '../../libvirt/procedures.js'
import { FakeLibvirtd } from './fake-libvirtd.js'

const soon = () => AbortSignal.timeout(10_000)
const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f'
const dom = { name: '', uuid, id: -1 }

async function world() {
  const daemon = await FakeLibvirtd.start()
  const connection = await Connection.open({ socketPath: daemon.path, uri: 'qemu:///system' }, soon())
  const end = async () => {
    connection.close()
    await daemon[Symbol.asyncDispose]()
  }
  return { daemon, connection, [Symbol.asyncDispose]: end }
}

t.test('replies find their calls in whatever order they come', async t => {
  await using w = await world()
  const answerSuspend = w.daemon.hold(p.domainSuspend, {})
  w.daemon.on(p.domainLookupByName, ({ name }) => ({ dom: { name, uuid, id: 3 } }))
  const suspend = w.connection.call(p.domainSuspend, { dom })
  const [a, b] = await Promise.all(['a', 'b'].map(name => w.connection.call(p.domainLookupByName, { name })))
  t.equal(a?.dom.name, 'a')
  t.equal(b?.dom.name, 'b')
  t.equal(w.connection.outstanding, 1)
  answerSuspend()
  t.strictSame(await suspend, {})
})

t.test('an error of libvirt is a fault by its number', async t => {
  await using w = await world()
  const failure = await w.connection
    .call(p.domainGetState, { dom, flags: 0 })
    .catch((error: unknown) => error)
  t.ok(Fault.is(failure, 'VM_NOT_FOUND'))
  t.ok(isVirError(failure, 'NO_DOMAIN'))
  t.notOk(isVirError(failure, 'NO_SECRET'))
})

t.test('a procedure that the daemon does not have is an error, and the connection goes on', async t => {
  await using w = await world()
  const failure = await w.connection.call(p.connectGetUri, {}).catch((error: unknown) => error)
  t.ok(Fault.is(failure, 'UNSUPPORTED'))
  t.equal((await w.connection.call(p.connectGetLibVersion, {})).libVer, 9_000_000n)
})

t.test(
  'a socket that breaks ends every call with an unknown outcome; later ones were never sent',
  async t => {
    await using w = await world()
    w.daemon.hold(p.domainSuspend, {})
    const suspend = w.connection.call(p.domainSuspend, { dom })
    await w.connection.call(p.connectGetLibVersion, {})
    w.daemon.drop()
    await t.rejects(suspend, { facts: { outcome: 'unknown' } } as unknown as Fault)
    await w.connection.closed
    const next = w.connection.call(p.domainSuspend, { dom })
    await t.rejects(next, { facts: { outcome: 'none' } } as unknown as Fault)
  }
)

t.test('a value that does not fit is refused without a packet, and the connection goes on', async t => {
  await using w = await world()
  const before = w.daemon.calls.length
  await t.rejects(w.connection.call(p.domainSuspend, { dom: { ...dom, uuid: 'x' } }), /uuid/)
  t.equal(w.daemon.calls.length, before)
  t.equal((await w.connection.call(p.connectGetLibVersion, {})).libVer, 9_000_000n)
})

t.test('a daemon that asks for SASL is refused in words', async t => {
  await using daemon = await FakeLibvirtd.start()
  daemon.on(p.authList, () => ({ types: [1] }))
  const opening = Connection.open({ socketPath: daemon.path, uri: 'qemu:///system' }, soon())
  await t.rejects(opening, new Fault('UNSUPPORTED', 'libvirtd asks for SASL on its socket'))
})

t.test('polkit is asked when it is the only way', async t => {
  await using daemon = await FakeLibvirtd.start()
  daemon.on(p.authList, () => ({ types: [2] }))
  daemon.on(p.authPolkit, () => ({ complete: 1 }))
  const connection = await Connection.open({ socketPath: daemon.path, uri: 'qemu:///system' }, soon())
  t.ok(daemon.calls.some(call => call.procedure.number === 70))
  connection.close()
})

t.test('where nobody listens, opening fails and says so', async t => {
  const opening = Connection.open({ socketPath: '/nowhere/socket', uri: 'qemu:///system' }, soon())
  await t.rejects(opening, { reason: 'LIBVIRT_UNAVAILABLE', facts: { outcome: 'none' } } as unknown as Fault)
})

t.test('a daemon that takes the connection and says nothing is given up on', async t => {
  await using daemon = await FakeLibvirtd.start()
  daemon.hold(p.authList, { types: [0] })
  const impatient = new AbortController()
  const opening = Connection.open({ socketPath: daemon.path, uri: 'qemu:///system' }, impatient.signal)
  setImmediate(() => impatient.abort(new Error('late')))
  await t.rejects(opening, new Error('late'))
})
