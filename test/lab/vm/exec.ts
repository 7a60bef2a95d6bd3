import { guestExec } from './guest-exec.js'

// exec.ts SOCKET SECONDS COMMAND: for hands; prints what the command says and ends with its status.
const [socket = '', seconds = '60', ...command] = process.argv.slice(2)
const { code, stdout, stderr } = await guestExec(socket, command.join(' '), Number(seconds))
process.stdout.write(stdout)
process.stderr.write(stderr)
process.exitCode = code
