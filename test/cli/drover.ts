import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { terminal } from '../../cli/print.js'
import { run } from '../../cli/run.js'

type Outcome = { out: string; err: string; code: number | null }

/** Runs a command line inside this process: quick, and the same code from the arguments on. One at a time. */
export async function drover(socket: string, args: string[]): Promise<Outcome> {
  const seen = { out: '', err: '' }
  process.env['DROVER_SOCKET'] = socket
  process.env['DROVER_CONFIG'] = '/nonexistent/config.toml'
  Object.assign(terminal, {
    print: (line: string) => (seen.out += `${line}\n`),
    complain: (line: string) => (seen.err += `${line}\n`),
    interactive: false
  })
  const code = await run(args)
  return { ...seen, code }
}

/** Runs the program as a person would, with something on its standard input. */
export async function droverProcess(socket: string, args: string[], input = ''): Promise<Outcome> {
  const child = spawn(process.execPath, ['dist/cli/main.js', ...args], {
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', DROVER_SOCKET: socket },
    stdio: 'pipe',
    timeout: 60_000,
    killSignal: 'SIGKILL'
  })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>(resolve => child.once('close', resolve))
  ])
  return { out, err, code }
}
