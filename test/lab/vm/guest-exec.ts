import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { once } from 'node:events'

export type VmResult = { code: number; stdout: string; stderr: string }

/** Runs a shell command in a VM through its guest agent: it works with the network down. Killed there after `seconds`. */
export async function guestExec(socket: string, script: string, seconds: number): Promise<VmResult> {
  const signal = AbortSignal.timeout((seconds + 20) * 1000)
  const environment = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C.UTF-8']
  const { pid } = (await ask(
    socket,
    'guest-exec',
    {
      path: '/usr/bin/timeout',
      // The guest agent's own umask would shut everybody but root out of what a script makes.
      arg: ['-k', '2', String(seconds), '/bin/bash', '-c', `umask 022\n${script}`],
      env: environment,
      'capture-output': true
    },
    signal
  )) as { pid: number }
  for (let pause = 50; ; pause = Math.min(pause * 1.5, 1000)) {
    await new Promise(resolve => setTimeout(resolve, pause))
    const status = (await ask(socket, 'guest-exec-status', { pid }, signal)) as Status
    if (!status.exited) continue
    const text = (data = '') => Buffer.from(data, 'base64').toString()
    return {
      code: status.exitcode ?? 128 + (status.signal ?? 0),
      stdout: text(status['out-data']),
      stderr: text(status['err-data'])
    }
  }
}

type Status = {
  exited: boolean
  exitcode?: number
  signal?: number
  'out-data'?: string
  'err-data'?: string
}

// One connection a question: the socket serves one client at a time, and a client that died may have left half an
// answer. 0xFF makes the agent drop what it has, and the sync's number says where our answers begin.
async function ask(path: string, execute: string, args: object, signal: AbortSignal): Promise<unknown> {
  const socket = connect(path)
  const stop = () => socket.destroy(new Error(`the VM does not answer ${execute}`))
  signal.addEventListener('abort', stop, { once: true })
  try {
    await once(socket, 'connect', { signal })
    const id = Math.floor(Math.random() * 2 ** 30)
    socket.write(Buffer.from([0xff]))
    socket.write(`${JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } })}\n`)
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    let synced = false
    for await (const line of createInterface({ input: socket.setEncoding('latin1') })) {
      const reply = parsed(line.slice(line.lastIndexOf('\xff') + 1))
      if (!reply) continue
      if (!synced) synced = reply.return === id
      else if (reply.error) throw new Error(`${execute}: ${reply.error.desc}`)
      else return reply.return
    }
    throw new Error(`the VM is gone while it should answer ${execute}`)
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}

function parsed(line: string): { return?: unknown; error?: { desc: string } } | null {
  try {
    return JSON.parse(line) as { return?: unknown }
  } catch {
    return null
  }
}
