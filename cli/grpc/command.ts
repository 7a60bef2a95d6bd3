import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { Metadata } from '@grpc/grpc-js'
import type { Command } from 'commander'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { Reflector } from '../../common/reflector.js'
import { seconds } from '../../common/units.js'
import { standardServices } from '../../proto/load.js'
import { terminal } from '../print.js'
import { interrupted, type GlobalOptions } from '../session.js'
import { readSettings, targetOf } from '../settings.js'
import { each, integer } from '../units.js'
import { callMethod, findMethod, template } from './call.js'
import { describe } from './describe.js'

type Options = { header?: string[]; deadline?: number; template?: boolean }

/** Any gRPC server with reflection: ours, with nothing but an address and certificates. */
export function addGrpc(program: Command): void {
  const noun = program
    .command('grpc')
    .description('Any method of any daemon, by reflection, with nothing but an address and certificates.')
    .addHelpText(
      'after',
      `
Examples:
  drover grpc list
  drover grpc list drover.v1.VmService
  drover grpc describe drover.v1.VmService.CreateVm
  drover grpc call drover.v1.VmService/ListVms '{"pageSize": 5}'
  drover grpc --socket /run/drover/agent.sock list
  drover grpc --address alpha:7444 --ca ca.pem --cert me.pem --key me.key call drover.agent.v1.HostService/GetHost`
    )
  noun
    .command('list')
    .argument('[SERVICE]', 'list its methods')
    .description('List services, or the methods of one.')
    .action(
      withReflection(async (reflector, _client, service: string | undefined) => {
        if (service === undefined) {
          for (const name of await reflector.services()) terminal.print(name)
          return
        }
        const found = (await reflector.registry([service])).getService(service)
        if (!found) throw new Fault('NOT_FOUND', `the server has no service ${service}`)
        for (const method of found.methods) terminal.print(`${service}/${method.name}`)
      })
    )
  noun
    .command('describe')
    .argument('[SYMBOL...]', 'service, method, message or enum (default: all services)')
    .description('Print what a symbol is, as .proto files have it.')
    .action(
      withReflection(async (reflector, _client, symbols: string[]) => {
        const asked = symbols.length > 0 ? symbols : await reflector.services()
        const names = asked.map(symbol => symbol.replace('/', '.'))
        const registry = await reflector.registry(names)
        terminal.print(names.map(name => describe(registry, name)).join('\n\n'))
      })
    )
  noun
    .command('call')
    .argument('<METHOD>', 'for example drover.v1.VmService/GetVm')
    .argument('[JSON]', 'the request; "-" reads standard input, "@FILE" a file; several objects for streams')
    .option('-H, --header <NAME:VALUE>', 'metadata, repeatable', each)
    .option('--deadline <SECONDS>', 'time limit (default: 30 for single answers)', integer(1, 86_400))
    .option('--template', 'print an example request instead of calling')
    .description('Call a method. Answers are printed as JSON; those of streams one a line.')
    .action(
      withReflection(
        async (reflector, client, name: string, request: string | undefined, options: Options) => {
          const method = await findMethod(reflector, name)
          if (options.template) return terminal.print(template(method.method))
          const { header = [], deadline } = options
          const limit = deadline === undefined ? null : seconds(deadline)
          await callMethod(
            client,
            method,
            await inputText(request),
            metadataOf(header),
            limit,
            interrupted(),
            terminal
          )
        }
      )
    )
}

function withReflection<Args extends unknown[]>(
  action: (reflector: Reflector, client: RpcClient, ...args: Args) => Promise<void>
) {
  return async (...args: [...Args, Command]): Promise<void> => {
    const options = (args.at(-1) as Command).optsWithGlobals<GlobalOptions>()
    const target = targetOf(readSettings(options, process.env), ['COORDINATOR', 'HOST'])
    using client = new RpcClient(target, systemClock)
    await action(
      new Reflector(client, standardServices, interrupted()),
      client,
      ...(args.slice(0, -1) as unknown as Args)
    )
  }
}

async function inputText(given: string | undefined): Promise<string> {
  if (given === undefined) return '{}'
  if (given === '-') return text(process.stdin)
  if (given.startsWith('@')) return readFileSync(given.slice(1), 'utf8')
  return given
}

function metadataOf(headers: string[]): Metadata {
  const metadata = new Metadata()
  for (const header of headers) {
    const [, name, value] = /^([\w.-]+)\s*:\s*(.*)$/.exec(header) ?? []
    if (name === undefined || value === undefined)
      throw new Fault('INVALID_REQUEST', `not NAME:VALUE: ${header}`)
    metadata.add(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value)
  }
  return metadata
}
