import { join } from 'node:path'
import t from 'tap'
import { roundTrip } from '../../libvirt/round-trip.js'
import { PrivateLibvirtd } from './private-libvirtd.js'
import { RecordingProxy } from './recording-proxy.js'
import { virshSession } from './virsh-session.js'

t.setTimeout(120_000)

t.test('what the real virsh and libvirtd say, our codec reads and writes again byte for byte', async t => {
  await using daemon = await PrivateLibvirtd.start()
  const path = join(daemon.root, 'proxy')
  const proxy = await RecordingProxy.start(path, daemon.socket)
  await virshSession(daemon.root, path)
  await proxy.close()

  const kinds = new Set<string>()
  const different: string[] = []
  for (const packet of proxy.packets) {
    const { kind, bytes } = roundTrip(packet)
    kinds.add(kind)
    if (!bytes.equals(packet)) different.push(`${kind}: ${packet.toString('hex')}`)
  }
  t.strictSame(different, [])
  t.strictSame(
    [...kinds].filter(kind => kind.startsWith('unknown')),
    [],
    'no procedure is unknown to our table'
  )
  const count = (prefix: string) => [...kinds].filter(kind => kind.startsWith(prefix)).length
  t.ok(kinds.size >= 400, `${kinds.size} kinds of message in ${proxy.packets.length} packets`)
  t.ok(count('call ') >= 200, `${count('call ')} kinds of call`)
  t.ok(count('reply ') >= 150, `${count('reply ')} kinds of reply`)
  t.ok(count('event ') >= 8, `${count('event ')} kinds of event`)
})
