import type { Fields } from '../../common/fields.js'
import { integerRule } from '../../common/rules.js'
import type { PolicySchedule } from '../power-saver/schedule.js'
import { objectName, objectNameWords } from './vm-fields.js'

// What clients may say about clusters, read from the wire.

export const readObjectName = (fields: Fields, field = 'name') =>
  fields.matching(field, objectName, objectNameWords)

/** An id chosen by the client, or null. */
export const readOwnId = (fields: Fields, field: string) => fields.optionalUuid(field)

export const readDescription = (fields: Fields) => fields.freeText('description', 1024)
export const readEtag = (fields: Fields) =>
  fields.optionalMatching('etag', /^\d{1,15}$/, 'must be an etag that was read before') ?? ''

export type Scheduling = {
  cpuWeight: number
  memoryWeight: number
  memoryOvercommitPercent: number
  cpuOvercommitPercent: number
}

export const standardScheduling: Scheduling = {
  cpuWeight: 2,
  memoryWeight: 1,
  memoryOvercommitPercent: 100,
  cpuOvercommitPercent: 1000
}

export const readScheduling = (fields: Fields): Scheduling => ({
  cpuWeight: fields.integer('cpuWeight', 0, 10),
  memoryWeight: fields.integer('memoryWeight', 0, 10),
  memoryOvercommitPercent: fields.integerOr('memoryOvercommitPercent', 100, 100, 200),
  cpuOvercommitPercent: fields.integerOr('cpuOvercommitPercent', 1000, 100, 1600)
})

export type Ha = {
  silenceSeconds: number
  fencingEnabled: 0 | 1
  statusGapSeconds: number
  skipFencingWhileLeaseLives: 0 | 1
  startGraceSeconds: number
}

export const standardHa: Ha = {
  silenceSeconds: 60,
  fencingEnabled: 1,
  statusGapSeconds: 1,
  skipFencingWhileLeaseLives: 1,
  startGraceSeconds: 300
}

export const readHaPolicy = (fields: Fields): Ha => ({
  silenceSeconds: fields.integerOr('silenceSeconds', 60, 3, 600),
  fencingEnabled: fields.bool('fencingEnabled') ? 1 : 0,
  statusGapSeconds: fields.integerOr('statusGapSeconds', 1, 1, 60),
  // A host whose lease lives is rarely dead: whoever does not speak of it wants it left alone.
  skipFencingWhileLeaseLives:
    !fields.has('skipFencingWhileLeaseLives') || fields.bool('skipFencingWhileLeaseLives') ? 1 : 0,
  startGraceSeconds: fields.integerOr('startGraceSeconds', 300, 0, 3600)
})

const policyWords = 'must be the name of a built-in policy or the id of another'

/** A policy that exists is looked for in the transaction. */
export const readPolicyId = (fields: Fields) =>
  fields.optionalMatching(
    'policyId',
    /^([a-z_]{1,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/,
    policyWords
  ) ?? 'none'

export const readHaReservedHosts = (fields: Fields) => fields.integer('haReservedHosts', 0, 8)

export const readSchedules = (fields: Fields): PolicySchedule[] =>
  fields.list('schedules', 32, it => ({
    weekdays: it.each('weekdays', 7, integerRule(0, 6)),
    beginMinute: it.integer('beginMinute', 0, 1439),
    endMinute: it.integer('endMinute', 0, 1439),
    hostsInReserve: it.integer('hostsInReserve', 0, 250),
    switchesHosts: it.bool('switchesHosts')
  }))

export const readClusterCpuModel = (fields: Fields) =>
  fields.optionalMatching('cpuModel', /^[A-Za-z0-9_.-]{1,64}$/, 'must be the name of a CPU model') ?? ''
