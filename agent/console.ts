import { once } from 'node:events'
import { createConnection } from 'node:net'
import type { Duplex } from 'node:stream'
import { orAborted, within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Secret } from '../common/secret.js'
import { seconds, type Seconds } from '../common/units.js'
import { openConsole } from '../libvirt/console.js'
import { updateDevice } from '../libvirt/devices.js'
import { graphicsXml } from '../libvirt/domain-xml.js'
import type { Vm } from './vm.js'

export type ConsoleKind = 'serial' | 'graphics'
export type ConsoleItem = { open: { vmId: string; kind: ConsoleKind; force: boolean } } | { data: Buffer }

const largest = 64 * 1024

/** Opens the console of a VM. For graphics the bytes are RFB, straight from QEMU's own socket. */
export async function connectConsole(
  vm: Vm,
  { kind, force }: { kind: ConsoleKind; force: boolean },
  signal: AbortSignal
): Promise<Duplex> {
  vm.throwUnlessAllowed('console')
  if (kind === 'serial') return openConsole(vm.libvirtDomain, { force }, signal)
  if (vm.vncSocket === '') throw new Fault('WRONG_STATE', `VM ${vm.id} has no graphical console`)
  const socket = createConnection(vm.vncSocket)
  try {
    await orAborted(once(socket, 'connect'), within(seconds(5), signal))
    return socket
  } catch (error) {
    socket.destroy()
    throw new Fault('VM_UNRESPONSIVE', `the graphical console of VM ${vm.id} does not answer`, {
      cause: error
    })
  }
}

/**
 * What a console shows, while what is typed goes to it. Both ways wait for the slower side. It ends with the
 * VM, with the caller, and when the caller has closed his side of a console that says nothing more.
 */
export async function* relay(
  items: AsyncIterator<ConsoleItem>,
  console: Duplex,
  signal: AbortSignal
): AsyncGenerator<{ data: Buffer }> {
  const stop = () => console.destroy()
  signal.addEventListener('abort', stop, { once: true })
  const typing = type(items, console).catch((error: Error) => console.destroy(error))
  try {
    for await (const chunk of console as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += largest) yield { data: chunk.subarray(at, at + largest) }
    }
  } catch (error) {
    if (!signal.aborted && !isClosed(error)) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    console.destroy()
    void typing
  }
}

async function type(items: AsyncIterator<ConsoleItem>, console: Duplex): Promise<void> {
  for (let next = await items.next(); !next.done; next = await items.next()) {
    if (!('data' in next.value)) throw new Fault('INVALID_REQUEST', 'only the first message opens a console')
    if (console.destroyed) return
    if (!console.write(next.value.data)) await once(console, 'drain')
  }
  console.destroy()
}

const isClosed = (error: unknown) =>
  error instanceof Error &&
  'code' in error &&
  ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'].includes(String(error.code))

/** From now on, for so long, this password opens the graphical console. */
export async function setTicket(
  vm: Vm,
  { password, valid, now }: { password: Secret; valid: Seconds; now: number },
  signal: AbortSignal
): Promise<void> {
  vm.throwUnlessAllowed('console')
  if (vm.vncSocket === '') throw new Fault('WRONG_STATE', `VM ${vm.id} has no graphical console`)
  const until = new Date(now + valid * 1000).toISOString().slice(0, 19)
  const xml = graphicsXml(vm.vncSocket, password.reveal(), until)
  await vm.lane.run(
    'console ticket',
    () => updateDevice(vm.libvirtDomain, xml, { live: true }, signal),
    signal
  )
}
