// Parts of the week with numbers of their own. PURE; times are UTC.

export type PolicySchedule = {
  /** 0 Sunday to 6 Saturday, on which it begins; empty is all. */
  weekdays: readonly number[]
  beginMinute: number
  /** Not after the beginning means on the next day. */
  endMinute: number
  hostsInReserve: number
  switchesHosts: boolean
}

/** The first that holds now, or null. */
export function scheduleAt(schedules: readonly PolicySchedule[], wallMs: number): PolicySchedule | null {
  const minutes = Math.floor(wallMs / 60_000)
  const minute = minutes % 1440
  // The first of January 1970 was a Thursday.
  const weekday = (Math.floor(minutes / 1440) + 4) % 7
  const isOn = (day: number, { weekdays }: PolicySchedule) => weekdays.length === 0 || weekdays.includes(day)
  const found = schedules.find(schedule => {
    const { beginMinute, endMinute } = schedule
    if (beginMinute < endMinute) {
      return isOn(weekday, schedule) && minute >= beginMinute && minute < endMinute
    }
    const yesterday = (weekday + 6) % 7
    const hasBegun = isOn(weekday, schedule) && minute >= beginMinute
    return hasBegun || (isOn(yesterday, schedule) && minute < endMinute)
  })
  return found ?? null
}
