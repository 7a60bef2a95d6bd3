#!/usr/bin/env node
import { Fault } from '../common/fault.js'

const usage = `drover-coordinator serve       [--config FILE]
drover-coordinator issue-admin NAME --out DIR [--role admin|viewer] [--days N] [--config FILE]
drover-coordinator revoke SERIAL  [--config FILE]
drover-coordinator restore FILE   [--replace] [--config FILE]
drover-coordinator adopt-epoch [--epoch N] [--config FILE]
drover-coordinator version
`

type Command = (args: string[]) => Promise<number>

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

async function main([name = '', ...args]: string[]): Promise<number> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command) return command(args)
  const isAsked = name === 'help' || name === '--help' || name === '-h'
  const out = isAsked ? process.stdout : process.stderr
  out.write(usage)
  return isAsked ? 0 : 2
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Fault)) throw error
  process.stderr.write(`drover-coordinator: ${error.message}\n${error.nextStep}\n`)
  process.exitCode = 1
}
