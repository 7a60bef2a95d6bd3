/** What an audit found, as it goes out. */
export type Finding = { invariant: string; object: string; text: string; hostId: string }
export type Findings = { findings: Finding[]; scope: string }
