import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addCompletion } from './completion.js'
import { exitCodes, exitCodeTexts } from './exit-codes.js'
import { addGrpc } from './grpc/command.js'
import { addAffinityGroup } from './nouns/affinity-group.js'
import { addRestoreReport } from './nouns/restore-report.js'
import { addQosProfile } from './nouns/qos-profile.js'
import { addAudit } from './nouns/audit.js'
import { addCluster } from './nouns/cluster.js'
import { addCoordinator } from './nouns/coordinator.js'
import { addDisk } from './nouns/disk.js'
import { addEvent } from './nouns/event.js'
import { addHost } from './nouns/host.js'
import { addImage } from './nouns/image.js'
import { addJob } from './nouns/job.js'
import { addPolicy } from './nouns/policy.js'
import { addQuota } from './nouns/quota.js'
import { addSnapshot } from './nouns/snapshot.js'
import { addStorageDomain } from './nouns/storage-domain.js'
import { addTemplate } from './nouns/template.js'
import { addVm } from './nouns/vm.js'
import { addWatch } from './nouns/watch.js'
import { terminal } from './print.js'
import { defaultSocket } from './settings.js'
import { integer } from './units.js'

/** The whole command line, as data: also what completion and the reference page are made of. */
export function buildProgram(): Command {
  const program = new Command('drover')
    .description('Manage hosts, storage and virtual machines through a Drover coordinator.')
    .version(version(), '-V, --version', 'print the version')
    .option('--address <HOST:PORT>', 'coordinator to talk to (DROVER_ADDRESS)')
    .option('--ca <FILE>', 'CA certificate of the installation, PEM (DROVER_CA)')
    .option('--cert <FILE>', 'your certificate, PEM (DROVER_CERT)')
    .option('--key <FILE>', 'your private key, PEM (DROVER_KEY)')
    .option(
      '--socket <PATH>',
      `unix socket of the coordinator, the default (DROVER_SOCKET; ${defaultSocket})`
    )
    .option('--json', 'print JSON')
    .option('--wait', 'wait for jobs to end (the default on a terminal)')
    .option('--no-wait', 'do not wait for jobs: print their id')
    .option('--timeout <SECONDS>', 'time limit of a single call (default 30)', integer(1, 600))
    .option('--quiet', 'do not draw progress')
    .configureOutput({
      writeErr: text => terminal.complain(text.trimEnd()),
      writeOut: text => terminal.print(text.trimEnd())
    })
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .showHelpAfterError('(see --help)')
    .addHelpText('after', footer())
  for (const add of [
    addVm,
    addTemplate,
    addDisk,
    addImage,
    addSnapshot,
    addHost,
    addCluster,
    addPolicy,
    addAffinityGroup,
    addQosProfile,
    addRestoreReport,
    addQuota,
    addStorageDomain
  ])
    add(program)
  for (const add of [addJob, addEvent, addAudit, addWatch, addCoordinator, addGrpc, addCompletion])
    add(program)
  return inherit(program)
}

/** Settings of help and errors are not handed down to commands made with command(). */
function inherit(program: Command): Command {
  for (const command of program.commands) {
    command.copyInheritedSettings(program)
    inherit(command)
  }
  return program
}

function footer(): string {
  const codes = Object.entries(exitCodes).map(
    ([name, code]) => `  ${code}  ${exitCodeTexts[name as keyof typeof exitCodes]}`
  )
  return `
Objects are named by id or by name. Without --address the coordinator on this machine is
asked through its unix socket. Options may also stand in the environment (DROVER_ADDRESS,
DROVER_CA, DROVER_CERT, DROVER_KEY, DROVER_SOCKET) or in ~/.config/drover/config.toml.

Examples:
  drover vm list
  drover vm create web --cluster main --template debian-12 --memory 2G --ha --start
  drover vm migrate web --host beta
  drover vm why web
  drover event --follow

Exit codes:
${codes.join('\n')}`
}

function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch {
      // the other tree: source or dist
    }
  }
  return 'unknown'
}
