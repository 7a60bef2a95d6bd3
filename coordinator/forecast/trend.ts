// When something will be used up, from how it was used. The median of the slopes of all pairs of samples: one
// week-end or one large import does not turn the forecast round. PURE.

export type Sample = { time: number; used: number; total: number }

export type Trend = {
  used: number
  total: number
  growthPerDay: number
  /** Null when it is not foreseen within ten years. */
  daysLeft: number | null
  historyDays: number
}

const day = 86_400_000
const mostSamples = 300
const farDays = 3650

/** Of samples in the order of time; null where there are none. */
export function trendOf(samples: readonly Sample[]): Trend | null {
  const last = samples.at(-1)
  const first = samples[0]
  if (!first || !last) return null
  const historyDays = (last.time - first.time) / day
  const thinned = thin(samples)
  const slopes: number[] = []
  for (let i = 0; i < thinned.length; i++) {
    for (let j = i + 1; j < thinned.length; j++) {
      const [a, b] = [thinned[i], thinned[j]]
      if (a && b && b.time > a.time) slopes.push(((b.used - a.used) * day) / (b.time - a.time))
    }
  }
  // Less than half a day tells the time of day, not growth.
  const growthPerDay = historyDays < 0.5 ? 0 : median(slopes)
  const left = growthPerDay > 0 ? Math.max(0, last.total - last.used) / growthPerDay : Infinity
  const { used, total } = last
  return { used, total, growthPerDay, daysLeft: left > farDays ? null : left, historyDays }
}

function thin(samples: readonly Sample[]): Sample[] {
  const step = Math.max(1, Math.ceil(samples.length / mostSamples))
  return samples.filter((_, index) => (samples.length - 1 - index) % step === 0)
}

function median(values: number[]): number {
  if (values.length === 0) return 0
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2
}
