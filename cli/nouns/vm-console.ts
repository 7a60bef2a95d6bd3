import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Command } from 'commander'
import { queue } from '../../common/queue.js'
import { coordinatorServices } from '../../proto/load.js'
import type { ConsoleInput } from '../../proto/generated/types/drover/agent/v1/ConsoleInput.js'
import { json } from '../print.js'
import { idOf } from '../resource.js'
import { vms } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { formatTime, integer } from '../units.js'

const service = coordinatorServices.vm
const leaveKey = 0x1d // ctrl-]

type Options = { vnc?: boolean; force?: boolean; listen?: string; validFor?: number }

/** The serial console in this terminal, or the graphical one on a local socket for a VNC viewer. */
export function addConsole(noun: Command): void {
  noun
    .command('console')
    .argument('<VM>', 'id or name')
    .option('--vnc', 'the graphical console: relayed to a local socket, for a VNC viewer')
    .option('--listen <PATH>', 'unix socket for --vnc (default: a new one)')
    .option('--valid-for <SECONDS>', 'life of the VNC password (default 120)', integer(1, 3600))
    .option('--force', 'take the console from whoever has it open')
    .description('Open the console of a VM. Leave the serial console with Ctrl-].')
    .action(
      withSession(async (session, vm: string, options: Options) => {
        const vmId = await idOf(session, vms, vm)
        if (options.vnc) await graphical(session, vmId, options)
        else await serial(session, vmId, options.force ?? false)
      })
    )
}

/** Joins a terminal and a serial console until ctrl-] or the end of either. */
async function serial(session: Session, vmId: string, force: boolean): Promise<void> {
  const leave = new AbortController()
  const signal = AbortSignal.any([session.signal, leave.signal])
  const keys = queue<Buffer>(signal)
  const { stdin, stdout, stderr } = process
  const onKeys = (data: Buffer) => {
    const end = stdin.isTTY ? data.indexOf(leaveKey) : -1
    keys.push(end < 0 ? data : data.subarray(0, end))
    if (end >= 0) leave.abort()
  }
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.on('data', onKeys)
  let over = false
  stdin.once('end', () => {
    over = true
    keys.push(Buffer.alloc(0))
  })
  if (stdin.isTTY) stderr.write('connected; leave with Ctrl-]\r\n')
  const input = async function* (): AsyncGenerator<ConsoleInput> {
    yield { open: { vmId, kind: 'CONSOLE_KIND_SERIAL', force } }
    // The end of piped input is not the end of the console: the rest of its output is still shown.
    for (let data = await keys.next(); !over || data.length > 0; data = await keys.next()) yield { data }
  }
  try {
    for await (const { data } of session.client.bidi(service.OpenConsole, input(), signal)) {
      if (!stdout.write(data)) await once(stdout, 'drain', { signal })
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error
  } finally {
    stdin.off('data', onKeys)
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    if (stdin.isTTY) stderr.write('\r\nleft\r\n')
  }
}

/** Serves one VNC viewer after another on a unix socket, each through its own stream. */
async function graphical(
  session: Session,
  vmId: string,
  { listen, validFor = 0, force = false }: Options
): Promise<void> {
  const request = { requestId: session.requestId(), vmId, validSeconds: validFor }
  const ticket = await session.call(service.CreateConsoleTicket, request)
  const folder = listen === undefined ? mkdtempSync(join(tmpdir(), 'drover-vnc-')) : null
  const path = listen ?? join(folder ?? '', 'vnc.sock')
  const server = createServer(socket => void relay(session, vmId, force, socket))
  const before = process.umask(0o177)
  server.listen(path)
  try {
    await once(server, 'listening')
    process.umask(before)
    if (session.options.json)
      session.out.print(json({ socket: path, password: ticket.password, expires: ticket.expires }))
    else {
      session.out
        .print(`socket:   ${path}\npassword: ${ticket.password}\nexpires:  ${formatTime(ticket.expires)}

Connect a viewer, for example:  remote-viewer vnc+unix://${path}
Ctrl-C ends the relay.`)
    }
    await once(session.signal, 'abort')
  } finally {
    process.umask(before)
    server.close()
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  }
}

async function relay(session: Session, vmId: string, force: boolean, socket: Socket): Promise<void> {
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  socket.on('error', () => gone.abort())
  const signal = AbortSignal.any([session.signal, gone.signal])
  const input = async function* (): AsyncGenerator<ConsoleInput> {
    yield { open: { vmId, kind: 'CONSOLE_KIND_GRAPHICS', force } }
    for await (const data of socket) for (const part of parts(data as Buffer)) yield { data: part }
  }
  try {
    for await (const { data } of session.client.bidi(service.OpenConsole, input(), signal)) {
      if (!socket.write(data)) await once(socket, 'drain', { signal })
    }
  } catch (error) {
    if (!signal.aborted)
      session.out.complain(`console: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    socket.destroy()
  }
}

/** At most 64 KiB a message. */
function* parts(data: Buffer): Generator<Buffer> {
  for (let at = 0; at < data.length; at += 65536) yield data.subarray(at, at + 65536)
}
