import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { Logger } from '../../common/log.js'
import type { DebugServiceDefinition } from '../../proto/generated/types/drover/agent/v1/DebugService.js'

const levels = ['error', 'warn', 'info', 'debug', 'trace'] as const

/** For a person who looks into a running agent. */
export function debugService(dump: () => object, log: Logger): Handlers<DebugServiceDefinition> {
  return {
    dump: unary({
      check: () => null,
      method: async () => ({ json: JSON.stringify(dump()) })
    }),
    setLogLevel: unary({
      check: fields => ({ requestId: fields.uuid('requestId'), level: fields.choice('level', levels) }),
      method: async ({ level }) => {
        log.level = level
        return {}
      }
    })
  }
}
