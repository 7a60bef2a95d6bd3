import type { TypedParam, TypedValue } from './structs.js'

export type Params = Record<string, number | bigint | boolean | string>

/** By name; a 64-bit number becomes a plain one where that is exact. A repeated name keeps its last value. */
export function paramsOf(list: readonly TypedParam[]): Params {
  return Object.fromEntries(list.map(({ field, value }) => [field, plain(value)]))
}

/** A parameter as a plain number; null if it is absent or no number. */
export function numberIn(params: Params, field: string): number | null {
  const value = params[field]
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : null
}

export function textIn(params: Params, field: string): string | null {
  const value = params[field]
  return typeof value === 'string' ? value : null
}

export const int = (field: string, value: number) => param(field, { type: 'int', value })
export const uint = (field: string, value: number) => param(field, { type: 'uint', value })
export const llong = (field: string, value: number | bigint) =>
  param(field, { type: 'llong', value: BigInt(value) })
export const ullong = (field: string, value: number | bigint) =>
  param(field, { type: 'ullong', value: BigInt(value) })
export const text = (field: string, value: string) => param(field, { type: 'string', value })

/** What libvirt calls each type; what is null is left out. */
export function present(...params: Array<TypedParam | null>): TypedParam[] {
  return params.filter(given => given !== null)
}

const param = (field: string, value: TypedValue): TypedParam => ({ field, value })

function plain({ value }: TypedValue): number | bigint | boolean | string {
  if (typeof value !== 'bigint') return value
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}
