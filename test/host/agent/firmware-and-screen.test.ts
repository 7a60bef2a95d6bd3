import { createCipheriv, randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Refused, type Answer } from './client.js'
import { AgentWorld, diskless } from './world.js'

t.setTimeout(280_000)

const world = await AgentWorld.start()
t.teardown(() => world[Symbol.asyncDispose]())
const { client } = world

type Open = { vmId: string; kind?: string }

/** A console as a stream of bytes that can be waited for. */
function consoleOf(open: Open) {
  const call = client.bidi('vm', 'OpenConsole')
  let bytes = Buffer.alloc(0)
  let failure: Refused | null = null
  let hasEnded = false
  call.on('data', (output: Answer) => (bytes = Buffer.concat([bytes, output['data']])))
  call.on('error', error => (failure = new Refused(error as never)))
  call.on('end', () => (hasEnded = true))
  call.write({ open })
  return {
    say: (data: Buffer) => void call.write({ data }),
    /** The next so many bytes. */
    take: async (count: number): Promise<Buffer> => {
      for (let tries = 0; bytes.length < count; tries++) {
        if (failure) throw failure
        if (hasEnded || tries > 600) throw new Error(`only ${bytes.length} of ${count} bytes came`)
        await setTimeout(50)
      }
      const taken = bytes.subarray(0, count)
      bytes = bytes.subarray(count)
      return taken
    },
    text: () => bytes.toString('latin1'),
    close: () => call.end()
  }
}

/** VNC's own: single DES, the bits of each byte of the password turned round. Three times DES is DES with one key. */
function answerTo(challenge: Buffer, password: string): Buffer {
  const key = Buffer.alloc(8)
  for (const [at, byte] of Buffer.from(password.slice(0, 8)).entries()) {
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) key[at]! |= 128 >> bit
  }
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null).setAutoPadding(false)
  return Buffer.concat([cipher.update(challenge), cipher.final()])
}

/** Whether RFB lets somebody in who says this password; with the size of the screen. */
async function admits(vmId: string, password: string): Promise<[width: number, height: number] | null> {
  const screen = consoleOf({ vmId, kind: 'CONSOLE_KIND_GRAPHICS' })
  try {
    t.match((await screen.take(12)).toString(), /^RFB 003\.00\d\n$/)
    screen.say(Buffer.from('RFB 003.008\n'))
    const [kinds = 0] = await screen.take(1)
    t.ok((await screen.take(kinds)).includes(2), 'it asks for a password')
    screen.say(Buffer.from([2]))
    screen.say(answerTo(await screen.take(16), password))
    if ((await screen.take(4)).readUInt32BE() !== 0) return null
    screen.say(Buffer.from([1]))
    const size = await screen.take(4)
    return [size.readUInt16BE(0), size.readUInt16BE(2)]
  } finally {
    screen.close()
  }
}

t.test('the screen of a VM opens to the ticket that was given, for as long as it is good', async t => {
  const spec = diskless(randomUUID(), { graphics: true })
  const { vmId } = spec
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  // libvirtd has a mount namespace of its own here; on a host, its paths are those of everybody.
  const shown = dirname((await world.vm(vmId))?.['vncSocket'])
  await mkdir(dirname(shown), { recursive: true })
  await symlink(join(world.libvirtd.root, 'lib', shown.slice('/var/lib/libvirt/'.length)), shown)
  t.teardown(() => rm(shown, { force: true }))

  const ticket = (password: string, validSeconds: number) =>
    client.mutate('vm', 'SetConsoleTicket', { vmId, password, validSeconds })
  t.equal(await admits(vmId, ''), null, 'without a ticket it is closed')
  await ticket('open4me!', 60)
  t.equal(await admits(vmId, 'open4you'), null, 'to another password')
  const [width, height] = (await admits(vmId, 'open4me!')) ?? [0, 0]
  t.ok(width >= 640 && height >= 400, `a screen of ${width} by ${height}`)
  await ticket('briefly!', 1)
  await setTimeout(2500)
  t.equal(await admits(vmId, 'briefly!'), null, 'a ticket ends')
  t.equal(await admits(vmId, 'open4me!'), null, 'and so has the one before')
  for (const password of ['', 'ninechars', 'tab\t', 'ümlaut']) {
    t.match(await ticket(password, 60).catch((error: unknown) => error), { fields: ['password'] }, password)
  }
  await client.task('vm', 'DestroyVm', { vmId })
})

t.test('a VM boots by UEFI, keeps its variables with it, and leaves none behind', async t => {
  const spec = diskless(randomUUID(), { firmware: 'FIRMWARE_UEFI', memoryBytes: String(256 * 2 ** 20) })
  const { vmId } = spec
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec, paused: true })
  const variables = () => readdir(join(world.libvirtd.root, 'lib/qemu/nvram'))
  t.match(await variables(), [`drover-${vmId}_VARS.fd`])
  const serial = consoleOf({ vmId })
  await setTimeout(500)
  await client.task('vm', 'ResumeVm', { vmId })
  for (let tries = 0; !/BdsDxe|UEFI/.test(serial.text()); tries++) {
    if (tries > 1200) throw new Error(`no UEFI: ${serial.text()}`)
    await setTimeout(100)
  }
  t.pass('the firmware speaks')
  serial.close()
  await client.task('vm', 'DestroyVm', { vmId })
  t.strictSame(await variables(), [])
})
