import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { groupOfQemu } from '../../agent/certificates.js'

t.test('the group of QEMU is the one that the host has, and none where it has none', async t => {
  const folder = await mkdtemp('/tmp/drover-group-')
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'group')
  const within = async (text: string) => {
    await writeFile(file, text)
    return groupOfQemu(file)
  }
  t.equal(await within('root:x:0:\nkvm:x:107:\nlibvirt-qemu:x:64055:libvirt-qemu\n'), 64055)
  t.equal(await within('qemu:x:107:\n'), 107)
  t.equal(await within('qemu:x:107:\nlibvirt-qemu:x:64055:\n'), 64055)
  t.equal(await within('root:x:0:\nmylibvirt-qemu:x:5:\nqemu:x:0:\nbroken\n'), null)
  t.equal(await groupOfQemu(join(folder, 'nothing')), null)
})
