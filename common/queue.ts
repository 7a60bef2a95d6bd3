/** Values from callbacks, for a reader that awaits: unbounded, so only for signals and bounded sources. */
export function queue<T>(signal: AbortSignal) {
  const values: T[] = []
  let wake = () => {}
  signal.addEventListener('abort', () => wake(), { once: true })
  return {
    push: (value: T) => {
      values.push(value)
      wake()
    },
    /** The oldest value; waits for one. Rejects when the signal ends it. */
    next: async (): Promise<T> => {
      for (;;) {
        signal.throwIfAborted()
        const [first] = values.splice(0, 1)
        if (first !== undefined) return first
        await new Promise<void>(resolve => (wake = resolve))
      }
    }
  }
}
