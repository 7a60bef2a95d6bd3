import { runScript, type Run } from './cluster.js'
import type { Rules } from './rules.js'
import type { Event, WorldSpec } from './world/spec.js'

const kept = (command: string) => command === 'heal' || command.startsWith('expect')

/**
 * The shortest script that still breaks the same invariant: events are left out in ever smaller groups, with
 * the same seed. The healing and the checks at the end stay.
 */
export async function shrink(
  { spec, script, seed, findings }: Run,
  until: number,
  rules: Rules,
  most = 200
): Promise<Event[]> {
  const wanted = findings[0]?.invariant
  let runs = 0
  const stillBreaks = async (events: Event[]) => {
    if (++runs > most) return false
    const again = await runScript(spec, events, until, rules, seed, true)
    return again.findings[0]?.invariant === wanted
  }
  let events = script
  for (let size = Math.ceil(events.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < events.length;) {
      const without = events.filter((event, i) => i < start || i >= start + size || kept(event.command))
      if (without.length < events.length && (await stillBreaks(without))) events = without
      else start += size
    }
  }
  return events
}

/** As a scenario's script.json wants it. */
export function asSteps(events: readonly Event[]): string[][] {
  const steps: string[][] = []
  let now = 0
  for (const { at, command } of events) {
    if (at > now) steps.push([`delay ${at - now}`])
    const last = steps.at(-1)
    if (at === now && last && !last[0]?.startsWith('delay')) last.push(command)
    else steps.push([command])
    now = at
  }
  return steps
}

export const asJson = (spec: WorldSpec, events: readonly Event[]) =>
  `world.json: ${JSON.stringify(spec)}\nscript.json: ${JSON.stringify(asSteps(events))}`
