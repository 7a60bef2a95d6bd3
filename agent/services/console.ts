import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { bidi, unary } from '../../common/rpc.js'
import { Secret } from '../../common/secret.js'
import { seconds } from '../../common/units.js'
import { connectConsole, relay, setTicket, type ConsoleItem } from '../console.js'
import { stampOf } from '../gate.js'
import type { Requests } from '../requests.js'
import type { VmWorld } from '../start-vm.js'

const kinds = ['CONSOLE_KIND_SERIAL', 'CONSOLE_KIND_GRAPHICS'] as const
const printable = /^[\x21-\x7e]{1,8}$/

export function consoleHandlers({ vms, now }: VmWorld, requests: Requests) {
  return {
    setConsoleTicket: unary({
      check: fields => ({
        stamp: stampOf(fields),
        vmId: fields.uuid('vmId'),
        password: new Secret(
          fields.matching('password', printable, 'must be 1 to 8 printable ASCII characters')
        ),
        valid: seconds(fields.integerOr('validSeconds', 120, 1, 3600))
      }),
      method: async ({ stamp, vmId, password, valid }, { signal }) => {
        // The password is no part of what is remembered, not even of its digest.
        const request = {
          stamp,
          kind: 'VmService.SetConsoleTicket',
          content: { vmId, valid },
          objects: { vm: vmId }
        }
        return requests.once(request, async () => {
          await setTicket(vms.get(vmId), { password, valid, now: now() }, signal)
          return {}
        })
      }
    }),
    openConsole: bidi({
      check: itemOf,
      method: async function* (items, { signal }) {
        const input = items[Symbol.asyncIterator]()
        const first = await input.next()
        if (first.done || !('open' in first.value)) {
          throw new Fault('INVALID_REQUEST', 'the first message must open a console', {
            violations: [{ field: 'open', description: 'must come first' }]
          })
        }
        const { vmId, ...how } = first.value.open
        yield* relay(input, await connectConsole(vms.get(vmId), how, signal), signal)
      }
    })
  }
}

function itemOf(fields: Fields): ConsoleItem {
  const item = fields.oneof<ConsoleItem>('input', {
    open: inner => ({
      open: inner.message('open', open => ({
        vmId: open.uuid('vmId'),
        kind:
          open.choiceOr('kind', 'CONSOLE_KIND_UNSPECIFIED', 'CONSOLE_KIND_SERIAL', kinds) ===
          'CONSOLE_KIND_SERIAL'
            ? ('serial' as const)
            : ('graphics' as const),
        force: open.bool('force')
      }))
    }),
    data: inner => ({ data: inner.bytes('data', 64 * 1024) })
  })
  return item ?? { data: Buffer.alloc(0) }
}
