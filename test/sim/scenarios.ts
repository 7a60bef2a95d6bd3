import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { runScript, type Run } from './cluster.js'
import { production, type Rules } from './rules.js'
import type { Event, WorldSpec } from './world/spec.js'

// Scenarios for people: a folder each, with about.md (what must happen and why), world.json, script.json, and
// log.expected (one line for each change). They lie in the sources, also when this runs from dist.

const folder = resolve('test/sim/scenarios')

export type Scenario = { name: string; about: string; spec: WorldSpec; script: Event[]; until: number }

export const scenarioNames = (): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted()

export function scenario(name: string): Scenario {
  const read = (file: string) => readFileSync(`${folder}/${name}/${file}`, 'utf8')
  const steps = JSON.parse(read('script.json')) as string[][]
  const script: Event[] = []
  let now = 0
  for (const commands of steps) {
    for (const command of commands) {
      if (command.startsWith('delay ')) now += Number(command.slice('delay '.length))
      else script.push({ at: now, command })
    }
  }
  return {
    name,
    about: read('about.md').trim(),
    spec: JSON.parse(read('world.json')) as WorldSpec,
    script,
    until: now
  }
}

export const runScenario = (
  { spec, script, until }: Scenario,
  seed = 1,
  rules: Rules = production
): Promise<Run> => runScript(spec, script, until, rules, seed)

const logFile = (name: string) => `${folder}/${name}/log.expected`
export const expectedLog = (name: string): string => readFileSync(logFile(name), 'utf8')
export const writeLog = (name: string, log: readonly string[]): void =>
  writeFileSync(logFile(name), logText(log))
export const logText = (log: readonly string[]): string => `${log.join('\n')}\n`
