import { Fault } from '../common/fault.js'

/** The field mask of what was given on the command line; asking for no change at all is a mistake. */
export function changes<O extends object>(
  options: O,
  paths: Partial<Record<keyof O & string, string>>
): { paths: string[] } {
  const given = Object.keys(options) as Array<keyof O & string>
  const masked = given.flatMap(name => (options[name] === undefined ? [] : (paths[name] ?? [])))
  if (masked.length === 0) throw new Fault('INVALID_REQUEST', 'say what to change; see --help')
  return { paths: masked }
}
