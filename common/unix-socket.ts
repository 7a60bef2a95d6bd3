import { once } from 'node:events'
import { chmod, mkdir, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { Fault } from './fault.js'

/**
 * Listens on a unix socket. Whoever may open it is the local administrator, so its mode is the
 * authentication: it is closed to others before it exists. A socket that a dead process left is replaced.
 */
export async function listenUnix(
  path: string,
  mode: 0o600 | 0o660,
  onSocket: (socket: Socket) => void
): Promise<Server> {
  // The kernel has room for 107 bytes; Node would cut the rest off in silence.
  if (Buffer.byteLength(path) > 107) throw new RangeError(`the path of a unix socket is too long: ${path}`)
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  if (await isAnswered(path)) throw new Fault('ALREADY_EXISTS', `another daemon serves ${path}`)
  await unlink(path).catch(ignoreMissing)
  const server = createServer(onSocket)
  const before = process.umask(0o177)
  try {
    server.listen(path)
    await once(server, 'listening')
  } finally {
    process.umask(before)
  }
  await chmod(path, mode)
  return server
}

async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
}
