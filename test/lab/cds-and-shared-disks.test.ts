import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bootableCd } from '../host/agent/bootable-cd.js'
import { Lab, poll } from './lab.js'
import { World } from './world.js'

// CDs and shared disks on two real hosts, typed as a person types it.
const world = new World(new Lab('t-cds'))
const { lab } = world

t.before(async () => {
  await world.createHosts()
  await world.createStorage()
  for (const label of ['ISO-ONE', 'ISO-TWO']) {
    writeFileSync(join(lab.files, `${label}.iso`), bootableCd(label))
    await drover(
      `image import /lab/files/${label}.iso --name ${label} --storage-domain ${world.ids.storageDomain}`
    )
  }
})
t.teardown(() => world[Symbol.asyncDispose]())

const drover = (words: string) => lab.shell('coord', `drover ${words}`, { seconds: 180 })
const shown = async (name: string) =>
  world.vm((await drover(`vm list --filter 'name = ${name}' --ids`)).trim())
const clean = async (t: Test) => t.strictSame(await world.violations(), [], 'the audit finds nothing')

/** Resets a VM and hears what it says. It says it once, perhaps before the console is open: then once more. */
async function saysAfterReset(name: string, vmId: string, words: string): Promise<void> {
  await poll(`the guest says ${words}`, 180, async () => {
    const limit = AbortSignal.timeout(30_000)
    const heard = hears(vmId, words, limit).catch(() => false)
    await drover(`vm reset ${name} --wait`)
    return (await heard) ? true : null
  })
}

async function hears(vmId: string, words: string, limit: AbortSignal): Promise<boolean> {
  let text = ''
  try {
    for await (const piece of world.api.console(vmId, limit)) {
      text += piece
      if (text.includes(words)) return true
    }
  } catch (error) {
    if (!limit.aborted) throw error
  }
  return false
}

t.test(
  'a CD goes along with its VM: by migration, by a change there, by a restart after a crash',
  async t => {
    await drover(`disk create root --size 16M --storage-domain ${world.ids.storageDomain} --wait`)
    await drover(
      'vm create cd --cluster demo --memory 64M --disk root --cdrom ISO-ONE --boot cdrom --ha --start --wait'
    )
    const { vmId, hostId, cdDrives } = await shown('cd')
    t.equal(cdDrives.length, 1)
    await drover('vm migrate cd --wait')
    const moved = await shown('cd')
    t.not(moved.hostId, hostId)
    await drover('vm insert-cd cd ISO-TWO --wait')
    await saysAfterReset('cd', vmId, 'ISO-TWO')
    t.match(await drover('disk delete ISO-TWO').catch(String), /in a drive of VM cd: eject it first/)
    // The first image is in no drive any more, and at no host.
    await drover('disk delete ISO-ONE --wait')

    await lab.kill(world.nameOf(moved.hostId), 'qemu')
    const again = await poll('it runs again', 120, async () => {
      const vm = await shown('cd')
      return vm.vmGeneration !== moved.vmGeneration && vm.status === 'VM_STATUS_UP' ? vm : null
    })
    await saysAfterReset('cd', vmId, 'ISO-TWO')
    t.equal(again.cdDrives[0]?.diskId, (await shown('cd')).cdDrives[0]?.diskId)
    await drover('vm eject-cd cd --wait')
    await drover('disk delete ISO-TWO --wait')
    await drover('vm stop cd --force --wait && drover vm delete cd --wait')
    await clean(t)
  }
)

t.test('two VMs write one disk, on two hosts and on one', async t => {
  const kind = '--format raw --preallocated --shareable'
  await drover(`disk create quorum --size 16M --storage-domain ${world.ids.storageDomain} ${kind} --wait`)
  for (const [name, host] of [
    ['left', 'h1'],
    ['right', 'h2']
  ] as const) {
    await drover(`vm create ${name} --cluster demo --memory 64M --disk quorum --wait`)
    await drover(`vm start ${name} --host ${host} --wait`)
  }
  const [left, right] = [await shown('left'), await shown('right')]
  t.not(left.hostId, right.hostId)
  await clean(t)
  await drover('vm migrate left --host h2 --wait')
  t.equal((await shown('left')).hostId, right.hostId)
  for (const name of ['left', 'right'])
    await drover(`vm stop ${name} --force --wait && drover vm delete ${name} --wait`)
  await drover('disk delete quorum --wait')
  await clean(t)
})
