export type Severity = 'ok' | 'warning' | 'failure'

/** One thing that a host needs: how it stands, and what to do about it. */
export type Finding = { name: string; severity: Severity; message: string; fix: string | null }

export const ok = (name: string, message: string): Finding => ({ name, severity: 'ok', message, fix: null })

export const warning = (name: string, message: string, fix: string): Finding => ({
  name,
  severity: 'warning',
  message,
  fix
})

export const failure = (name: string, message: string, fix: string): Finding => ({
  name,
  severity: 'failure',
  message,
  fix
})
