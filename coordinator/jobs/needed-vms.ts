import { Fault } from '../../common/fault.js'
import { mayStart, type Needed } from '../dependencies.js'
import { holdersOf } from '../store/claims.js'
import { neededOf } from '../store/dependencies.js'
import type { Reader } from '../store/query.js'
import type { Store } from '../store/store.js'
import { vm, type Vm } from '../store/vms.js'

const running: ReadonlySet<string> = new Set([
  'up',
  'powering_up',
  'migrating_from',
  'reboot_in_progress',
  'paused'
])
const runs = ({ status, hostId }: Vm) => hostId !== null && running.has(status)

const neededVms = (reader: Reader, vmId: string): Needed[] =>
  neededOf(reader, vmId).map(id => {
    const row = vm(reader, id)
    return { name: row.name, runs: runs(row), isStarting: holdersOf(reader, 'vm', id).length > 0 }
  })

/** Refused while a VM that it needs neither runs nor is on its way. */
export function throwUnlessNeededCome(reader: Reader, vmId: string): 'now' | 'wait' {
  const answer = mayStart(neededVms(reader, vmId))
  if (answer.kind !== 'refuse') return answer.kind
  const { name } = vm(reader, vmId)
  const text = `VM ${name} needs ${answer.names.join(', ')}, which does not run: start that first`
  throw new Fault('WRONG_STATE', text, { facts: { vm: vmId } })
}

/** Until all that it needs runs; fails when one of them has given up. */
export async function untilNeededRun(store: Store, vmId: string, signal: AbortSignal): Promise<void> {
  if (throwUnlessNeededCome(store.read, vmId) === 'now') return
  await new Promise<void>((resolve, reject) => {
    const end = (act: () => void) => {
      unlisten()
      signal.removeEventListener('abort', stop)
      act()
    }
    const stop = () => end(() => reject(signal.reason as Error))
    const look = () => {
      try {
        if (throwUnlessNeededCome(store.read, vmId) === 'now') end(resolve)
      } catch (error) {
        end(() => reject(error as Error))
      }
    }
    const unlisten = store.listen(changes => {
      if (changes.some(({ kind }) => kind === 'vm' || kind === 'job')) look()
    })
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
  })
}
