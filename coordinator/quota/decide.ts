// What a quota says to more use. PURE.

export type QuotaMode = 'disabled' | 'audit' | 'enforced'
export type Resource = 'vcpus' | 'memory' | 'storage'

export type Asked = {
  resource: Resource
  /** Used with what is asked for now. */
  after: number
  /** Null is no limit. */
  limit: number | null
  thresholdPercent: number
  gracePercent: number
}

export type Answer =
  | { kind: 'fine' }
  /** Given, but told: near the limit, or beyond it within the grace, or beyond all while nobody is refused. */
  | { kind: 'warned'; text: string }
  | { kind: 'refused'; text: string }

export function decideQuota(mode: QuotaMode, asked: Asked): Answer {
  const { after, limit, thresholdPercent, gracePercent } = asked
  if (mode === 'disabled' || limit === null) return { kind: 'fine' }
  const hardest = Math.floor((limit * (100 + gracePercent)) / 100)
  if (after > hardest) {
    const text = `${amount(asked, after)} of ${amount(asked, limit)} ${words[asked.resource]} would be used`
    const grace = gracePercent > 0 ? `, beyond ${gracePercent} % of grace` : ''
    return { kind: mode === 'enforced' ? 'refused' : 'warned', text: text + grace }
  }
  if (after > limit) {
    const text = `${amount(asked, after)} of ${amount(asked, limit)} ${words[asked.resource]} are used, within the grace`
    return { kind: 'warned', text }
  }
  if (after * 100 > limit * thresholdPercent) {
    return {
      kind: 'warned',
      text: `${amount(asked, after)} of ${amount(asked, limit)} ${words[asked.resource]} are used`
    }
  }
  return { kind: 'fine' }
}

const words: Record<Resource, string> = { vcpus: 'virtual CPUs', memory: 'of memory', storage: 'of disks' }

const amount = ({ resource }: Asked, value: number) =>
  resource === 'vcpus' ? String(value) : `${(value / 2 ** 30).toFixed(2)} GiB`
