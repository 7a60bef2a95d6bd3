import { orAborted } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Task__Output } from '../proto/generated/types/drover/agent/v1/Task.js'

type Follower = { tell(task: Task__Output): void; fail(why: Fault): void }
export type Followed = Disposable & { next(signal: AbortSignal): Promise<Task__Output> }

/** News of tasks, from the hosts' watch streams to whoever waits for them. */
export class TaskReports {
  readonly #followers = new Map<string, Set<Follower>>()

  report(hostId: string, task: Task__Output): void {
    for (const follower of this.#followers.get(`${hostId}/${task.taskId}`) ?? []) follower.tell(task)
  }

  /** The stream of a host broke: nobody tells any more. */
  lose(hostId: string): void {
    const fault = new Fault('HOST_UNREACHABLE', 'the connection to the host broke', {
      facts: { host: hostId }
    })
    for (const [key, followers] of this.#followers) {
      if (key.startsWith(`${hostId}/`)) for (const follower of followers) follower.fail(fault)
    }
  }

  /** Keeps the latest state only: what comes between is not waited for. */
  follow(hostId: string, taskId: string): Followed {
    const key = `${hostId}/${taskId}`
    let latest: Task__Output | null = null
    let broken: Fault | null = null
    let wake = () => {}
    const follower: Follower = {
      tell: task => {
        latest = task
        wake()
      },
      fail: why => {
        broken = why
        wake()
      }
    }
    const followers = this.#followers.get(key) ?? new Set()
    this.#followers.set(key, followers.add(follower))
    const take = () => {
      if (broken) throw broken
      const taken = latest
      latest = null
      return taken
    }
    return {
      next: async signal => {
        for (;;) {
          const task = take()
          if (task) return task
          await orAborted(new Promise<void>(resolve => (wake = resolve)), signal)
        }
      },
      [Symbol.dispose]: () => {
        followers.delete(follower)
        if (followers.size === 0) this.#followers.delete(key)
      }
    }
  }
}
