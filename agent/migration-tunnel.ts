import { once } from 'node:events'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import type { Logger } from '../common/log.js'

/*
 * No libvirtd listens on the network. For one migration the source's libvirtd gets a unix socket, and what goes
 * through it travels over the agents' own channel to the destination's libvirtd:
 *
 *   libvirtd ── unix socket ── agent ══ mutual TLS, PeerService.MigrationTunnel ══ agent ── libvirtd
 *   source                    source                                           destination   destination
 *
 * The memory of the VM does not come this way: QEMU has a TLS connection of its own.
 */

const largest = 64 * 1024

export type Pipe = (fromUs: AsyncIterable<Buffer>, signal: AbortSignal) => AsyncIterable<Buffer>

/** The source's end: a socket for libvirtd, each connection to which goes through a pipe of its own. */
export async function openTunnel(path: string, pipe: Pipe, log: Logger): Promise<AsyncDisposable> {
  const end = new AbortController()
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: false }, socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    join(socket, pipe, end.signal).catch((error: unknown) => {
      log.warn({ err: error }, 'migration tunnel broke')
      socket.destroy()
    })
  })
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await rm(path, { force: true })
  server.listen(path)
  await once(server, 'listening')
  await chmod(path, 0o600)
  const close = async () => {
    end.abort()
    server.close()
    for (const socket of sockets) socket.destroy()
    await rm(path, { force: true })
  }
  return { [Symbol.asyncDispose]: close }
}

/** The destination's end of one connection: straight into its libvirtd. */
export async function* tunnelTo(
  socketPath: string,
  fromThem: AsyncIterable<Buffer>,
  signal: AbortSignal
): AsyncGenerator<Buffer> {
  const socket = createConnection(socketPath)
  const stop = () => socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    await once(socket, 'connect', { signal })
    void fill(socket, fromThem).catch(() => socket.destroy())
    yield* chunks(socket)
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}

async function join(socket: Socket, pipe: Pipe, signal: AbortSignal): Promise<void> {
  await fill(socket, pipe(chunks(socket), signal))
}

/** Everything into a socket, no faster than it takes it, and then its end. */
async function fill(socket: Socket, from: AsyncIterable<Buffer>): Promise<void> {
  for await (const bytes of from) {
    if (socket.destroyed) return
    if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
  }
  socket.end()
}

async function* chunks(socket: Socket): AsyncGenerator<Buffer> {
  try {
    for await (const bytes of socket as AsyncIterable<Buffer>) {
      for (let at = 0; at < bytes.length; at += largest) yield bytes.subarray(at, at + largest)
    }
  } catch {
    // A socket that breaks has ended, as far as the other side can tell.
  }
}
