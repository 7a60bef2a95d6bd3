import { pino, type Logger } from 'pino'

export type { Logger }

// Defence in depth: secrets travel in `Secret`, these paths are for foreign objects that get logged.
const redact = ['password', 'secret', 'token', 'key', '*.password', '*.secret', '*.token', '*.privateKey']

/** JSON lines on standard output; journald adds time and unit. */
export function createLog(program: string, level: string): Logger {
  return pino({ name: program, level, redact, formatters: { level: label => ({ level: label }) } })
}
