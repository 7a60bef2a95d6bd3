import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { roundTrip } from '../../libvirt/round-trip.js'
import { PrivateLibvirtd } from './private-libvirtd.js'
import { RecordingProxy } from './recording-proxy.js'
import { virshSession } from './virsh-session.js'
import { root } from '../../root.js'

// Writes test/vectors/libvirt/recording.txt anew: the shortest packet of every kind that the real virsh and the real
// libvirtd exchange. Run it as root after a change of the session: `node --import tsx test/host/libvirt/record.ts`.

await using daemon = await PrivateLibvirtd.start()
const path = join(daemon.root, 'proxy')
const proxy = await RecordingProxy.start(path, daemon.socket)
await virshSession(daemon.root, path)
await proxy.close()

const shortest = new Map<string, Buffer>()
for (const packet of proxy.packets) {
  const { kind } = roundTrip(packet)
  const known = shortest.get(kind)
  if (!known || packet.length < known.length) shortest.set(kind, packet)
}
const lines = [...shortest].toSorted().map(([kind, packet]) => `${kind}\t${packet.toString('base64')}`)
await writeFile(`${root}/test/vectors/libvirt/recording.txt`, `${lines.join('\n')}\n`)
