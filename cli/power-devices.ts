import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Fault } from '../common/fault.js'
import { pair } from './units.js'

export type PowerOptions = {
  fenceAgent?: string
  fenceOption?: Record<string, string>
  fencePasswordFile?: string
  fenceDevice?: string[]
  fence?: boolean
}
type Device = {
  fenceAgent: string
  order: number
  options: Record<string, string>
  secretOptions: Record<string, string>
}

export function withPower(command: Command): Command {
  return command
    .option('--fence-agent <PROGRAM>', 'power device: fence agent, for example fence_ipmilan')
    .option('--fence-option <NAME=VALUE>', 'option of the fence agent, repeatable', pair)
    .option('--fence-password-file <FILE>', 'file with the password of the power device')
    .option(
      '--fence-device <DEVICE>',
      'one of several, repeatable: "PROGRAM,order=N,NAME=VALUE,…,password-file=FILE"; those of one order switch together, the next order is tried when the one before fails',
      (device: string, before: string[] = []) => [...before, device]
    )
    .option('--no-fence', 'no power device')
}

/** Null where nothing was said of power. */
export function powerOf(options: PowerOptions): { enabled: boolean; devices: Device[] } | null {
  const { fenceAgent, fenceOption = {}, fencePasswordFile, fenceDevice = [], fence } = options
  if (fenceAgent !== undefined && fenceDevice.length > 0)
    throw new Fault(
      'INVALID_REQUEST',
      'give --fence-agent for one power device, or --fence-device for several'
    )
  if (fence === false) return { enabled: false, devices: [] }
  if (fenceDevice.length > 0) return { enabled: true, devices: fenceDevice.map(deviceOf) }
  if (fenceAgent === undefined) return null
  const secretOptions = fencePasswordFile ? { password: secretIn(fencePasswordFile) } : {}
  return { enabled: true, devices: [{ fenceAgent, order: 0, options: fenceOption, secretOptions }] }
}

/** `fence_ipmilan,order=1,ip=10.0.0.9,username=admin,password-file=/root/bmc`. */
export function deviceOf(text: string): Device {
  const [fenceAgent = '', ...words] = text.split(',')
  const device: Device = { fenceAgent, order: 0, options: {}, secretOptions: {} }
  for (const word of words) {
    const at = word.indexOf('=')
    if (at < 1) throw new Fault('INVALID_REQUEST', `"${word}" of --fence-device must be NAME=VALUE`)
    const [name, value] = [word.slice(0, at), word.slice(at + 1)]
    if (name === 'order') device.order = orderOf(value)
    else if (name === 'password-file') device.secretOptions['password'] = secretIn(value)
    else device.options[name] = value
  }
  return device
}

function orderOf(text: string): number {
  if (/^[0-9]$/.test(text)) return Number(text)
  throw new Fault('INVALID_REQUEST', `the order of a power device must be 0 to 9, and is "${text}"`)
}

const secretIn = (file: string) => readFileSync(file, 'utf8').replace(/\n$/, '')
