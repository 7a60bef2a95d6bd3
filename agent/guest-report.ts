import { isIP } from 'node:net'

/*
 * What a guest agent says, read with suspicion: everything is bounded, typed, cut and cleaned, and nothing of
 * it is ever a key, a path or a command. A report that cannot be read marks that guest agent, and nothing else.
 */

export type GuestReport = {
  connected: boolean
  seen: number | null
  hostname: string
  osName: string
  kernel: string
  agentVersion: string
  interfaces: Array<{ name: string; mac: string; addresses: string[] }>
  fileSystems: Array<{ mountpoint: string; type: string; totalBytes: number; usedBytes: number }>
  users: string[]
}

export const noReport: GuestReport = {
  ...{ connected: false, seen: null, hostname: '', osName: '', kernel: '', agentVersion: '' },
  ...{ interfaces: [], fileSystems: [], users: [] }
}

const largest = 64 * 1024
const mostShown = 64
const mostItems = 1000
const deepest = 16

/** The `return` member of an answer; null if the text is too long, too deep, or no JSON. */
export function readAnswer(text: string | null): unknown {
  if (text === null || text.length > largest || depthOf(text) > deepest) return null
  try {
    const answer: unknown = JSON.parse(text)
    return isRecord(answer) && Object.hasOwn(answer, 'return') ? answer['return'] : null
  } catch {
    return null
  }
}

export function interfacesIn(answer: unknown): GuestReport['interfaces'] {
  return listOf(answer)
    .slice(0, mostShown)
    .map(one => ({
      name: textIn(one, 'name'),
      mac: macOf(textIn(one, 'hardware-address')),
      addresses: listOf(one['ip-addresses'])
        .map(address => textIn(address, 'ip-address', 64))
        .filter(address => isIP(address) !== 0)
        .slice(0, mostShown)
    }))
}

export function fileSystemsIn(answer: unknown): GuestReport['fileSystems'] {
  return listOf(answer)
    .slice(0, mostShown)
    .map(one => ({
      mountpoint: textIn(one, 'mountpoint'),
      type: textIn(one, 'type', 32),
      totalBytes: sizeIn(one, 'total-bytes'),
      usedBytes: sizeIn(one, 'used-bytes')
    }))
}

export function usersIn(answer: unknown): string[] {
  const names = listOf(answer).map(one => textIn(one, 'user', 64))
  return [...new Set(names)].filter(name => name !== '').slice(0, mostShown)
}

export function osIn(answer: unknown): { osName: string; kernel: string } {
  const one = isRecord(answer) ? answer : {}
  return { osName: textIn(one, 'pretty-name') || textIn(one, 'name'), kernel: textIn(one, 'kernel-release') }
}

export function hostnameIn(answer: unknown): string {
  return isRecord(answer) ? textIn(answer, 'host-name') : ''
}

/** Version, and the commands that the guest agent offers. */
export function agentIn(answer: unknown): { version: string; commands: Set<string> } {
  const one = isRecord(answer) ? answer : {}
  const enabled = listOf(one['supported_commands']).filter(command => command['enabled'] !== false)
  return {
    version: textIn(one, 'version', 64),
    commands: new Set(enabled.map(command => textIn(command, 'name', 64)))
  }
}

/** An address by which somebody else could reach the guest. */
export const hasUsefulAddress = ({ interfaces }: GuestReport) =>
  interfaces.some(({ addresses }) =>
    addresses.some(address => !/^(127\.|169\.254\.|::1$|fe80:)/i.test(address))
  )

// Control and format characters, lone surrogates and what XML 1.0 forbids.
const forbidden = /[\p{Cc}\p{Cf}\p{Cs}\ufffe\uffff]/gu

function textIn(from: Record<string, unknown>, name: string, most = 255): string {
  const value = Object.hasOwn(from, name) ? from[name] : ''
  return typeof value === 'string' ? value.slice(0, most).replace(forbidden, '') : ''
}

function sizeIn(from: Record<string, unknown>, name: string): number {
  const value = Object.hasOwn(from, name) ? from[name] : 0
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
}

const macOf = (text: string) => (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : '')

const listOf = (value: unknown) => (Array.isArray(value) ? value.slice(0, mostItems).filter(isRecord) : [])

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Depth of nesting, before anything is parsed; brackets inside strings count too, which only refuses more. */
function depthOf(text: string): number {
  let depth = 0
  let most = 0
  for (const character of text) {
    if (character === '[' || character === '{') most = Math.max(most, ++depth)
    else if (character === ']' || character === '}') depth--
  }
  return most
}
