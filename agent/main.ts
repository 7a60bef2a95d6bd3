#!/usr/bin/env node
import { runCommand, type Command } from '../common/command-line.js'

const usage = `drover-agent serve   [--config FILE]
drover-agent enrol   --token-file FILE --coordinator HOST:PORT --ca-fingerprint sha256:HEX [--address HOST:PORT] [--config FILE]
drover-agent recover --token-file FILE --coordinator HOST:PORT --ca-fingerprint sha256:HEX [--address HOST:PORT] [--config FILE]
drover-agent format  list | decode KIND FILE | encode KIND FILE
drover-agent doctor  [--json] [--config FILE]
drover-agent version
`

// Loaded when needed: a look at the version or a metadata block does not load gRPC.
const commands: Record<string, Command> = {
  serve: async args => (await import('./serve.js')).serve(args),
  enrol: async args => (await import('./enrol.js')).enrol(args, { isRecovery: false }),
  recover: async args => (await import('./enrol.js')).enrol(args, { isRecovery: true }),
  format: async args => (await import('./format-cli.js')).formatCommand(args),
  doctor: async args => (await import('./doctor/doctor.js')).doctorCommand(args),
  version: async () => {
    process.stdout.write(`${(await import('./version.js')).agentVersion}\n`)
    return 0
  }
}

await runCommand({ program: 'drover-agent', usage, commands }, process.argv.slice(2))
