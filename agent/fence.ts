import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import type { Secret } from '../common/secret.js'
import type { Seconds } from '../common/units.js'

export type FenceAction = 'status' | 'off' | 'on' | 'monitor'
export type FenceRequest = {
  /** A program of the host's list, never a path. */
  fenceAgent: string
  action: FenceAction
  options: Map<string, string>
  secretOptions: Map<string, Secret>
  limit: Seconds
}
export type FenceOutcome = { succeeded: boolean; powerState: 'on' | 'off' | 'unknown'; output: string }

const most = 4096

/** Runs a fence agent. Everything it is told goes over its standard input: no argument shows in a process list. */
export async function runFenceAgent(
  run: Run,
  { directory, known }: { directory: string; known: string[] },
  request: FenceRequest,
  signal: AbortSignal
): Promise<FenceOutcome> {
  const { fenceAgent, action, limit } = request
  if (!known.includes(fenceAgent)) throw new Fault('NOT_FOUND', `this host has no fence agent ${fenceAgent}`)
  const limited = within(limit, signal)
  const secrets = [...request.secretOptions.values()].map(secret => secret.reveal())
  try {
    const answer = await run(`${directory}/${fenceAgent}`, [], limited, {
      input: inputOf(request),
      okCodes: [0, 1, 2]
    })
    const output = withoutSecrets(`${answer.stdout}${answer.stderr}`, secrets).slice(0, most)
    return { ...meaningOf(action, answer.code), output }
  } catch (error) {
    if (signal.aborted) throw error
    if (limited.aborted) {
      throw new Fault('DEADLINE', `${fenceAgent} did not answer within ${limit} s`, { cause: error })
    }
    if (error instanceof Fault) {
      // The program's own words may repeat what it was told.
      return {
        succeeded: false,
        powerState: 'unknown',
        output: withoutSecrets(error.message, secrets).slice(0, most)
      }
    }
    throw error
  }
}

/** For `status`: 0 is on, 2 is off. For everything else only 0 is success. */
export function meaningOf(action: FenceAction, code: number): Omit<FenceOutcome, 'output'> {
  if (action !== 'status') return { succeeded: code === 0, powerState: 'unknown' }
  if (code === 0) return { succeeded: true, powerState: 'on' }
  if (code === 2) return { succeeded: true, powerState: 'off' }
  return { succeeded: false, powerState: 'unknown' }
}

function inputOf({ action, options, secretOptions }: FenceRequest): string {
  const lines = [`action=${action}`, ...[...options].map(([name, value]) => `${name}=${value}`)]
  const secretLines = [...secretOptions].map(([name, value]) => `${name}=${value.reveal()}`)
  return [...lines, ...secretLines].map(line => `${line}\n`).join('')
}

function withoutSecrets(text: string, secrets: string[]): string {
  return secrets.reduce((cut, secret) => (secret === '' ? cut : cut.replaceAll(secret, '***')), text)
}
