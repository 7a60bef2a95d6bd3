/** A rule that an image breaks, and how. */
export type Finding = { rule: string; text: string }

/** Rules are names that tests, events and users can rely on: `qcow2.backing-file`, `polyglot`. */
export class Findings {
  readonly list: Finding[]
  readonly #prefix: string

  constructor(list: Finding[] = [], prefix = '') {
    this.list = list
    this.#prefix = prefix
  }

  add(rule: string, text: string): void {
    this.list.push({ rule: this.#prefix + rule, text })
  }

  /** Adds the finding unless the condition holds; returns whether it does. */
  require(isFine: boolean, rule: string, text: string): boolean {
    if (!isFine) this.add(rule, text)
    return isFine
  }

  /** The same list under the names of a format. */
  of(format: string): Findings {
    return new Findings(this.list, `${format}.`)
  }
}

export const TiB = 2n ** 40n

export type SizeLimit = { mostBytes: bigint }

/** Virtual sizes come from the image; beyond the limit nothing else in it is worth believing. */
export function requireSize(findings: Findings, size: bigint, limit: SizeLimit): boolean {
  return (
    findings.require(size > 0n, 'size', 'the virtual size is 0') &&
    findings.require(size <= limit.mostBytes, 'size', `the virtual size ${size} is beyond ${limit.mostBytes}`)
  )
}

export const isPowerOfTwo = (n: bigint): boolean => n > 0n && (n & (n - 1n)) === 0n
