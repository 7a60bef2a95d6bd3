/** One broken invariant, as it goes out. */
export type Finding = { invariant: string; object: string; text: string; hostId: string }
export type Findings = { findings: Finding[]; scope: string }

export const found = (invariant: string, object: string, text: string, hostId = ''): Finding => {
  return { invariant, object, text, hostId }
}
