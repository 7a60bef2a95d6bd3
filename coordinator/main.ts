#!/usr/bin/env node
import { runCommand, type Command } from '../common/command-line.js'

const usage = `drover-coordinator serve       [--config FILE]
drover-coordinator issue-admin NAME --out DIR [--role admin|viewer] [--days N] [--config FILE]
drover-coordinator revoke SERIAL  [--config FILE]
drover-coordinator restore FILE   [--replace] [--config FILE]
drover-coordinator adopt-epoch [--epoch N] [--config FILE]
drover-coordinator version
`

// Loaded when needed: a look at the version does not load gRPC.
const commands: Record<string, Command> = {
  serve: async args => (await import('./serve.js')).serve(args),
  'issue-admin': async args => (await import('./commands/issue-admin.js')).issueAdmin(args),
  revoke: async args => (await import('./commands/issue-admin.js')).revoke(args),
  restore: async args => (await import('./commands/restore.js')).restore(args),
  'adopt-epoch': async args => (await import('./commands/adopt-epoch.js')).adoptEpochCommand(args),
  version: async () => {
    process.stdout.write(`${(await import('./version.js')).coordinatorVersion}\n`)
    return 0
  }
}

await runCommand({ program: 'drover-coordinator', usage, commands }, process.argv.slice(2))
