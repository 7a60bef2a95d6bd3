import { Fault } from '../common/fault.js'

export type Schedule = {
  weekdays: number[]
  beginMinute: number
  endMinute: number
  hostsInReserve: number
  switchesHosts: boolean
}

const names = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const shape =
  'must be "DAYS HH:MM-HH:MM [reserve=N] [power=on|off]", for example "mon-fri 20:00-06:00 reserve=1 power=on"'

/** A part of the week, in UTC: `mon-fri 20:00-06:00 reserve=1 power=on`; DAYS is `all`, or days and ranges by comma. */
export function scheduleOf(text: string): Schedule {
  const [days = '', times = '', ...words] = text.trim().split(/\s+/)
  const [begin, end, ...more] = times.split('-')
  if (begin === undefined || end === undefined || more.length > 0) throw wrong(text, shape)
  const schedule: Schedule = {
    ...{ weekdays: daysOf(days, text), beginMinute: minuteOf(begin, text), endMinute: minuteOf(end, text) },
    ...{ hostsInReserve: 0, switchesHosts: true }
  }
  for (const word of words) {
    const reserve = /^reserve=(\d{1,3})$/.exec(word)?.[1]
    const power = /^power=(on|off)$/.exec(word)?.[1]
    if (reserve !== undefined) schedule.hostsInReserve = Number(reserve)
    else if (power !== undefined) schedule.switchesHosts = power === 'on'
    else throw wrong(text, shape)
  }
  return schedule
}

/** As it is written: for people. */
export function scheduleText({
  weekdays,
  beginMinute,
  endMinute,
  hostsInReserve,
  switchesHosts
}: Schedule): string {
  const days = weekdays.length === 0 ? 'all' : weekdays.map(day => names[day]).join(',')
  const time = (minute: number) =>
    [Math.floor(minute / 60), minute % 60].map(number => String(number).padStart(2, '0')).join(':')
  const power = switchesHosts ? 'on' : 'off'
  return `${days} ${time(beginMinute)}-${time(endMinute)} reserve=${hostsInReserve} power=${power}`
}

function daysOf(text: string, whole: string): number[] {
  if (text === 'all') return []
  const found = text.split(',').flatMap(part => {
    const [first = '', last = first] = part.toLowerCase().split('-')
    const [from, to] = [names.indexOf(first), names.indexOf(last)]
    if (from < 0 || to < 0) throw wrong(whole, shape)
    const count = ((to - from + 7) % 7) + 1
    return Array.from({ length: count }, (_, index) => (from + index) % 7)
  })
  return [...new Set(found)].toSorted((a, b) => a - b)
}

function minuteOf(text: string, whole: string): number {
  const [, hours, minutes] = /^(\d{1,2}):(\d{2})$/.exec(text) ?? []
  const minute = Number(hours) * 60 + Number(minutes)
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59) throw wrong(whole, shape)
  return minute
}

const wrong = (text: string, what: string) => new Fault('INVALID_REQUEST', `the schedule "${text}" ${what}`)
