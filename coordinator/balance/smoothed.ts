// Loads as decisions should see them: a moment's peak moves no VM. PURE but for what it remembers.

/** An average that forgets: what was seen a time constant ago counts a third. */
export class Smoothed {
  #value: number | null = null
  #time = 0

  note(value: number, seconds: number, timeConstant = 60): void {
    if (!Number.isFinite(value) || !Number.isFinite(seconds)) return
    if (this.#value === null) this.#value = value
    else {
      const passed = Math.max(0, seconds - this.#time)
      this.#value += (value - this.#value) * (1 - Math.exp(-passed / timeConstant))
    }
    this.#time = Math.max(this.#time, seconds)
  }

  get value(): number | null {
    return this.#value
  }
}

const minutesKept = 60

/** The least load of each of the last minutes: tells for how long without a break it was above a threshold. */
export class BusyMinutes {
  /** Newest first. */
  #minutes: Array<{ minute: number; least: number }> = []

  note(value: number, seconds: number): void {
    const minute = Math.floor(seconds / 60)
    const [newest] = this.#minutes
    if (!newest || minute > newest.minute) {
      this.#minutes = [{ minute, least: value }, ...this.#minutes].slice(0, minutesKept)
    } else if (minute === newest.minute) newest.least = Math.min(newest.least, value)
  }

  /** Whole minutes, in seconds, that the load has not been below the threshold. A gap in the samples ends it. */
  secondsAbove(threshold: number): number {
    let count = 0
    let expected: number | null = null
    for (const { minute, least } of this.#minutes) {
      if (least < threshold || (expected !== null && minute !== expected)) break
      count++
      expected = minute - 1
    }
    return count * 60
  }
}
