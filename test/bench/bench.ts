// What every benchmark shares: a claim is a ratio against a named reference, both measured in one run on the
// same machine, in turns, medians compared.

export type BenchResult = {
  bench: string
  /** True only when the goal holds. */
  ok: boolean
  /** Ours divided by the reference's time; below 1 is faster. */
  ratio: number
  reference: string
  goal: string
  [figure: string]: unknown
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN
}

export type Sides = { ours: number[]; reference: number[] }

/** In turns, so that what slows the machine slows both. Each goes first every second time. */
export async function inTurns(
  rounds: number,
  ours: (round: number) => Promise<number>,
  reference: (round: number) => Promise<number>
): Promise<Sides> {
  const sides: Sides = { ours: [], reference: [] }
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) sides.ours.push(await ours(round))
    sides.reference.push(await reference(round))
    if (round % 2 === 1) sides.ours.push(await ours(round))
  }
  return sides
}

/** A line for people: medians and p99 of both, and their ratio. */
export function show(what: string, { ours, reference }: Sides, unit = 'ms'): number {
  const ratio = median(ours) / median(reference)
  const side = (values: number[]) => `${median(values).toFixed(1)} (p99 ${quantile(values, 0.99).toFixed(1)})`
  console.log(
    `${what.padEnd(28)} ours ${side(ours)} ${unit}  reference ${side(reference)} ${unit}  ratio ${ratio.toFixed(2)}`
  )
  return ratio
}
