import { readCpuLimits, readDiskLimits, readNetworkLimits } from '../../common/limits.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { VmServiceDefinition } from '../../proto/generated/types/drover/agent/v1/VmService.js'
import { stampOf } from '../gate.js'
import type { Requests } from '../requests.js'
import type { VmWorld } from '../start-vm.js'
import { setVmLimits } from '../vm-limits.js'

/** Limits of a VM that runs. */
export function limitsHandlers(
  world: VmWorld,
  requests: Requests
): Pick<Handlers<VmServiceDefinition>, 'setVmLimits'> {
  return {
    setVmLimits: unary({
      check: fields => ({
        stamp: stampOf(fields),
        vmId: fields.uuid('vmId'),
        generation: fields.integer('vmGeneration', 0, Number.MAX_SAFE_INTEGER),
        cpuLimits: fields.optionalMessage('cpuLimits', readCpuLimits) ?? null,
        disks: fields.list('disks', 24, it => ({
          diskId: it.uuid('diskId'),
          limits: it.optionalMessage('limits', readDiskLimits) ?? null
        })),
        nics: fields.list('nics', 16, it => ({
          mac: it.mac('mac'),
          limits: it.optionalMessage('limits', readNetworkLimits) ?? null
        }))
      }),
      method: async ({ stamp, ...wanted }, { signal }) => {
        const request = {
          stamp,
          kind: 'VmService.SetVmLimits',
          content: wanted,
          objects: { vm: wanted.vmId }
        }
        return requests.once(request, async () => {
          await setVmLimits(world, wanted, signal)
          return {}
        })
      }
    })
  }
}
