import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json, table } from '../print.js'
import { addReading } from '../resource.js'
import { policies } from '../resources.js'
import { withSession } from '../session.js'
import { each, pair } from '../units.js'
import { changes } from '../update.js'

const service = coordinatorServices.placementPolicy

type Options = {
  name?: string
  description?: string
  filter?: string[]
  weight?: Record<string, string>
  selector?: string
  balancer?: string
  set?: Record<string, string>
}

export function addPolicy(program: Command): void {
  const noun = program.command('policy').description('By which rules VMs are placed and moved.')
  withOptions(noun.command('create'))
    .argument('<NAME>')
    .option('--like <POLICY>', 'begin with what this policy has, id or name')
    .description('Create a policy.')
    .addHelpText(
      'after',
      '\nExample:\n  drover policy create lively --like evenly_distributed --set highUtilization=70'
    )
    .action(
      withSession(async (session, name: string, { like, ...options }: Options & { like?: string }) => {
        const base = like === undefined ? null : await policies.get(session, like)
        const wanted = wire(options)
        const placementPolicy = {
          name,
          description: wanted.description,
          filters: options.filter ?? base?.filters ?? [],
          weights: { ...base?.weights, ...wanted.weights },
          selector: wanted.selector || (base?.selector ?? ''),
          balancer: wanted.balancer || (base?.balancer ?? ''),
          parameters: { ...base?.parameters, ...wanted.parameters }
        }
        const request = { requestId: session.requestId(), placementPolicy }
        const made = await session.call(service.CreatePlacementPolicy, request)
        session.out.print(
          session.options.json ? json(made) : `created policy ${made.name} (${made.placementPolicyId})`
        )
      })
    )
  addReading(noun, policies)
  withOptions(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<POLICY>', 'id or name')
    .description('Change a policy; what is not named stays.')
    .action(
      withSession(async (session, idOrName: string, options: Options) => {
        const before = await policies.get(session, idOrName)
        const updateMask = changes(options, {
          ...{ name: 'name', description: 'description', filter: 'filters', weight: 'weights' },
          ...{ selector: 'selector', balancer: 'balancer', set: 'parameters' }
        })
        const wanted = wire(options)
        const placementPolicy = {
          ...wanted,
          weights: { ...before.weights, ...wanted.weights },
          parameters: { ...before.parameters, ...wanted.parameters },
          ...{ placementPolicyId: before.placementPolicyId, etag: before.etag }
        }
        const request = { requestId: session.requestId(), placementPolicy, updateMask }
        const after = await session.call(service.UpdatePlacementPolicy, request)
        session.out.print(session.options.json ? json(after) : `changed policy ${after.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<POLICY>', 'id or name')
    .description('Delete a policy that no cluster uses.')
    .action(
      withSession(async (session, placementPolicyId: string) => {
        await session.call(service.DeletePlacementPolicy, {
          requestId: session.requestId(),
          placementPolicyId
        })
        session.out.print(
          session.options.json ? json({ placementPolicyId }) : `deleted policy ${placementPolicyId}`
        )
      })
    )
  noun
    .command('units')
    .description('What policies are made of: filters, weights and parameters.')
    .action(
      withSession(async session => {
        const units = await session.call(service.ListPlacementUnits, {})
        if (session.options.json) return session.out.print(json(units))
        const rows = units.parameters.map(({ name, least, most, standard }) => [
          name,
          String(least),
          String(most),
          String(standard)
        ])
        session.out.print(
          `always: ${units.alwaysFilters.join(' ')}\nfilters: ${units.filters.join(' ')}\nweights: ${units.weights.join(' ')}`
        )
        session.out.print(table(['PARAMETER', 'LEAST', 'MOST', 'DEFAULT'], rows))
      })
    )
}

function withOptions(command: Command): Command {
  return command
    .option('--description <TEXT>', 'free text')
    .option('--filter <NAME>', 'filter, repeatable, in order; see `drover policy units`', each)
    .option('--weight <NAME=FACTOR>', 'factor of a weight, repeatable; 0 takes it out', pair)
    .option('--selector <SELECTOR>', 'weighted or ranked')
    .option('--balancer <BALANCER>', 'none, even, even-guests or power-saving')
    .option('--set <NAME=NUMBER>', 'parameter, repeatable', pair)
}

function wire({
  name = '',
  description = '',
  filter = [],
  weight = {},
  selector = '',
  balancer = '',
  set = {}
}: Options) {
  return {
    ...{ name, description, filters: filter, selector, balancer },
    weights: numbers(weight),
    parameters: numbers(set)
  }
}

function numbers(given: Record<string, string>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(given).map(([name, text]) => {
      if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`Give a whole number for ${name}.`)
      return [name, Number(text)]
    })
  )
}
