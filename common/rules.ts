import { isWwid } from './address-rules.js'
import { isUuid } from './ids.js'
import { wrongName, wrongText } from './text-rules.js'
import { bytes, type Bytes } from './units.js'

/** Looks at one untrusted value: gives it back as our own type, or says what must hold. */
export type Rule<T> = (value: unknown) => { value: T } | { wrong: string }

export const textOf = (value: unknown) => (typeof value === 'string' ? value : '')

/** A text with a verdict about it. */
function judged(value: unknown, wrong: string | null): { value: string } | { wrong: string } {
  return wrong === null ? { value: textOf(value) } : { wrong }
}

export const uuidRule: Rule<string> = value =>
  typeof value === 'string' && isUuid(value) ? { value } : { wrong: 'must be a lower-case UUID' }

export const nameRule =
  (most = 255): Rule<string> =>
  value =>
    judged(value, wrongName(textOf(value), most))

export const matchingRule =
  (shape: RegExp, description: string): Rule<string> =>
  value =>
    typeof value === 'string' && value.length <= 65536 && shape.test(value)
      ? { value }
      : { wrong: description }

export const wwidRule: Rule<string> = value =>
  typeof value === 'string' && isWwid(value)
    ? { value }
    : { wrong: 'must be the WWID of a LUN, as `drover host luns` shows it' }

export const integerRule =
  (least: number, most: number): Rule<number> =>
  value => {
    const number = typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : value
    return typeof number === 'number' && Number.isSafeInteger(number) && number >= least && number <= most
      ? { value: number + 0 }
      : { wrong: `must be a whole number from ${least} to ${most}` }
  }

export const int64Rule =
  (least: bigint, most: bigint): Rule<bigint> =>
  value => {
    const whole = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
    const number = typeof whole === 'string' && /^-?\d{1,20}$/.test(whole) ? BigInt(whole) : null
    return number !== null && number >= least && number <= most
      ? { value: number }
      : { wrong: `must be a whole number from ${least} to ${most}` }
  }

export const sizeRule =
  (least: Bytes, most: Bytes): Rule<Bytes> =>
  value => {
    const outcome = int64Rule(BigInt(least), BigInt(most))(value)
    return 'value' in outcome
      ? { value: bytes(Number(outcome.value)) }
      : { wrong: `must be from ${least} to ${most} bytes` }
  }

export const choiceRule =
  <T extends string>(allowed: readonly T[]): Rule<T> =>
  value => {
    const known = allowed.find(name => name === value)
    return known === undefined ? { wrong: `must be one of ${allowed.join(', ')}` } : { value: known }
  }

export const textRule =
  (most: number): Rule<string> =>
  value =>
    judged(value, wrongText(textOf(value), most))
