import type { Fields } from '../../common/fields.js'
import { matchingRule, type Rule } from '../../common/rules.js'
import { Secret } from '../../common/secret.js'

// What clients may say about hosts, read from the wire.

export type WantedDevice = {
  fenceAgent: string
  order: number
  options: Record<string, string>
  /** An empty value keeps the secret that is there. */
  secrets: Map<string, Secret>
}
export type WantedPower = { isEnabled: boolean; devices: WantedDevice[] }

const optionName = matchingRule(/^[a-z][a-z0-9_-]{0,63}$/, 'is not the name of an option') as Rule<string>
const optionValue = matchingRule(/^[^\0\n\r]{0,1024}$/, 'must be one line of at most 1024 characters')

const mostDevices = 4

export function readPower(fields: Fields): WantedPower {
  const devices = fields.list('devices', mostDevices, readDevice)
  const isEnabled = fields.bool('enabled')
  if (isEnabled && devices.length === 0) fields.refuse('devices', 'must name a power device', null)
  return { isEnabled, devices }
}

function readDevice(fields: Fields): WantedDevice {
  const options = fields.map('options', 32, optionName, optionValue)
  const secrets = fields.map('secretOptions', 8, optionName, optionValue)
  for (const reserved of ['action', 'plug_list'].filter(name => options.has(name) || secrets.has(name))) {
    fields.refuse('options', `must not contain "${reserved}"`, null)
  }
  for (const name of options.keys()) {
    if (/passw|secret|token/i.test(name)) {
      fields.refuse(`options["${name}"]`, 'is a secret: it belongs into secret_options', null)
    }
  }
  return {
    fenceAgent: fields.matching('fenceAgent', /^fence_[a-z0-9_]{1,60}$/, 'must be the name of a fence agent'),
    order: fields.integer('order', 0, 9),
    options: Object.fromEntries(options),
    secrets: new Map([...secrets].map(([name, value]) => [name, new Secret(value)]))
  }
}

/** What of it may be kept and compared: everything but the values of secrets. */
export const publicPower = ({ isEnabled, devices }: WantedPower) => ({
  isEnabled,
  devices: devices.map(({ fenceAgent, order, options, secrets }) => {
    return { fenceAgent, order, options, secretNames: [...secrets.keys()].toSorted() }
  })
})
