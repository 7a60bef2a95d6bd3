import type { Fields } from '../../common/fields.js'
import { matchingRule, type Rule } from '../../common/rules.js'
import {
  filterNames,
  parameterBounds,
  standardParameters,
  weightNames,
  type Balancer,
  type FilterName,
  type Parameters,
  type WeightName
} from '../scheduler/policy.js'
import type { PolicyRules } from '../store/policies.js'

// What clients may say about placement policies, read from the wire; and back.

const oneOf =
  <T extends string>(known: readonly T[]): Rule<T> =>
  value => {
    const found = known.find(name => name === value)
    return found === undefined ? { wrong: `must be one of ${known.join(', ')}` } : { value: found }
  }
const factor: Rule<number> = value =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 100
    ? { value: Number(value) }
    : { wrong: 'must be 0 to 100' }
const anyNumber: Rule<number> = value =>
  Number.isInteger(value) && Number(value) >= 0
    ? { value: Number(value) }
    : { wrong: 'must be a whole number' }

const balancers: readonly Balancer[] = ['none', 'even', 'even-guests', 'power-saving']
const parameterNames = Object.keys(parameterBounds) as Array<keyof Parameters>

export function readFilters(fields: Fields): FilterName[] {
  const filters = fields.each('filters', 32, oneOf(filterNames as readonly FilterName[]))
  if (new Set(filters).size < filters.length) fields.refuse('filters', 'must not name a filter twice', null)
  return filters
}

export const readWeights = (fields: Fields): Partial<Record<WeightName, number>> =>
  Object.fromEntries(fields.map('weights', 32, oneOf(weightNames), factor))

export const readSelector = (fields: Fields): PolicyRules['selector'] =>
  fields.optionalMatching('selector', /^(weighted|ranked)$/, 'must be "weighted" or "ranked"') === 'ranked'
    ? 'ranked'
    : 'weighted'

export function readBalancer(fields: Fields): Balancer {
  const given = fields.optionalMatching(
    'balancer',
    /^[a-z-]{1,20}$/,
    `must be one of ${balancers.join(', ')}`
  )
  if (given === null) return 'none'
  const found = balancers.find(name => name === given)
  return found ?? fields.refuse('balancer', `must be one of ${balancers.join(', ')}`, 'none' as const)
}

export function readParameters(fields: Fields): Parameters {
  const given = fields.map('parameters', 32, oneOf(parameterNames), anyNumber)
  const found: Record<string, number | boolean> = { ...standardParameters }
  for (const [name, value] of given) {
    const [least, most] = parameterBounds[name]
    if (value < least || value > most) {
      fields.refuse('parameters', `must have ${name} from ${least} to ${most}`, null)
    } else found[name] = name === 'switchesHosts' ? value === 1 : value
  }
  return found as Parameters
}

export const readRules = (fields: Fields): PolicyRules => ({
  filters: readFilters(fields),
  weights: readWeights(fields),
  selector: readSelector(fields),
  balancer: readBalancer(fields),
  parameters: readParameters(fields)
})

export const parametersMessage = (parameters: Parameters): Record<string, number> =>
  Object.fromEntries(parameterNames.map(name => [name, Number(parameters[name])]))

export const parameterMessages = () =>
  parameterNames.map(name => {
    const [least, most] = parameterBounds[name]
    return { name, least, most, standard: Number(standardParameters[name]) }
  })

/** For reading other fields of a policy. */
export const labelRule = matchingRule(
  /^[A-Za-z0-9._-]{1,64}$/,
  'must be 1 to 64 letters, digits, ".", "_" or "-"'
) as Rule<string>
