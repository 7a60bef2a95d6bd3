import { uuidRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { TaskServiceDefinition } from '../../proto/generated/types/drover/agent/v1/TaskService.js'
import { page, pageOf } from '../pages.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'

export function taskService(tasks: Tasks): Handlers<TaskServiceDefinition> {
  return {
    getTask: unary({
      check: fields => fields.uuid('taskId'),
      method: async id => taskMessage(tasks.get(id))
    }),
    listTasks: unary({
      check: pageOf,
      method: async request => {
        const { items, nextPageToken } = page(tasks.list(), ({ id }) => id, request)
        return { tasks: items.map(taskMessage), nextPageToken }
      }
    }),
    cancelTask: unary({
      check: fields => fields.uuid('taskId'),
      method: async id => taskMessage(await tasks.cancel(id))
    }),
    acknowledgeTasks: unary({
      check: fields => fields.each('taskIds', 1000, uuidRule),
      method: async ids => {
        await tasks.acknowledge(ids)
        return {}
      }
    })
  }
}
