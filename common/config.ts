import { readdirSync, readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { z, type ZodType } from 'zod'
import { Fault, type Violation } from './fault.js'

/** One setting of a daemon: how it is checked, its default, and what people read about it. */
export type Setting = { schema: ZodType; standard: unknown; sentence: string; bounds: string }

/** What a table of settings is once it is read. */
export type Configuration<Settings extends Record<string, Setting>> = {
  [K in keyof Settings]: Settings[K] extends { schema: ZodType<infer T> } ? T : never
}

export const setting = <T>(schema: ZodType<T>, standard: T, bounds: string, sentence: string) => ({
  schema,
  standard,
  bounds,
  sentence
})
export const number = (standard: number, least: number, most: number, sentence: string) =>
  setting(z.number().int().min(least).max(most), standard, `${least} to ${most}`, sentence)

/** Defaults, then the file, then each .toml file of the folder beside it, in order. Unknown settings are refused. */
export function loadSettings<Settings extends Record<string, Setting>>(
  settings: Settings,
  file: string,
  folder: string
): Configuration<Settings> {
  const beside = `${file.replace(/\/[^/]*$/, '')}/${folder}`
  const files = [file, ...listed(beside).map(name => `${beside}/${name}`)]
  return checkSettings(settings, Object.assign({}, ...files.map(readToml)) as Record<string, unknown>)
}

export function checkSettings<Settings extends Record<string, Setting>>(
  settings: Settings,
  given: Record<string, unknown>
): Configuration<Settings> {
  const violations: Violation[] = []
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(settings, name)) violations.push({ field: name, description: 'is no setting' })
  }
  const entries = Object.entries(settings).map(([name, { schema, standard, bounds }]) => {
    const read = schema.safeParse(given[name] ?? standard)
    if (!read.success) violations.push({ field: name, description: `must be ${bounds}` })
    return [name, read.data]
  })
  if (violations.length > 0) {
    const all = violations.map(({ field, description }) => `${field} ${description}`).join('; ')
    throw new Fault('INVALID_REQUEST', `configuration: ${all}`, { violations })
  }
  return Object.fromEntries(entries) as Configuration<Settings>
}

function readToml(file: string): Record<string, unknown> {
  const text = readIfThere(file)
  try {
    return parse(text)
  } catch (error) {
    throw new Fault('INVALID_REQUEST', `${file} is not TOML`, { cause: error })
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter(name => name.endsWith('.toml'))
      .toSorted()
  } catch {
    return []
  }
}
