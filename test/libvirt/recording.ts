import { readFileSync } from 'node:fs'
import { root } from '../root.js'

/** The recording of virsh and libvirtd 9.0.0: one packet of each kind. test/host/libvirt/record.ts makes it. */
export function recording(): Array<{ kind: string; packet: Buffer }> {
  const text = readFileSync(`${root}/test/vectors/libvirt/recording.txt`, 'utf8')
  return text
    .trim()
    .split('\n')
    .map(line => {
      const [kind = '', base64 = ''] = line.split('\t')
      return { kind, packet: Buffer.from(base64, 'base64') }
    })
}
