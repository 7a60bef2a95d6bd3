import { Fault } from '../common/fault.js'

export type ConsoleKind = 'serial' | 'graphics'
export type ConsoleOpening = { vmId: string; kind: ConsoleKind; force: boolean }
export type ConsoleMessage = { open: ConsoleOpening } | { data: Buffer }

/** A console on the host that runs the VM: what is typed goes in, what the guest shows comes out. */
export type HostConsole = (
  hostId: string,
  opening: ConsoleOpening,
  typed: AsyncIterable<Buffer>,
  signal: AbortSignal
) => AsyncIterable<Buffer>

export type WhereVmRuns = {
  /** Throws when it runs nowhere. */
  hostOf(vmId: string): string
  /** Until it runs on that host no more, as far as anybody knows: a host without its cable says nothing of it. */
  untilLeft(vmId: string, hostId: string, signal: AbortSignal): Promise<unknown>
}

/**
 * Carries a console between a caller and the host that runs the VM, at the pace of the slower side. It ends
 * with the caller, with the guest, or when the VM leaves that host: the caller then opens it anew.
 */
export async function* relayConsole(
  messages: AsyncIterable<ConsoleMessage>,
  { hostOf, untilLeft }: WhereVmRuns,
  console: HostConsole,
  signal: AbortSignal
): AsyncGenerator<Buffer> {
  const incoming = messages[Symbol.asyncIterator]()
  const first = await incoming.next()
  if (first.done || !('open' in first.value)) {
    throw new Fault('INVALID_REQUEST', 'the first message must open the console', {
      violations: [{ field: 'open', description: 'must be in the first message' }]
    })
  }
  const { open } = first.value
  // Whichever side ends first takes the other with it.
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const wrong: Fault[] = []
  const typed = onlyData(incoming, fault => {
    wrong.push(fault)
    over.abort(fault)
  })
  try {
    const hostId = hostOf(open.vmId)
    untilLeft(open.vmId, hostId, either).then(
      () => over.abort(new Fault('INTERRUPTED', 'the VM left its host: open the console anew')),
      () => {}
    )
    yield* console(hostId, open, typed, either)
    const [fault] = wrong
    if (fault) throw fault
  } finally {
    over.abort(new Fault('CANCELLED', 'the console was closed'))
  }
}

async function* onlyData(
  messages: AsyncIterator<ConsoleMessage>,
  refuse: (fault: Fault) => void
): AsyncGenerator<Buffer> {
  try {
    for (let next = await messages.next(); !next.done; next = await messages.next()) {
      if ('open' in next.value) {
        throw new Fault('INVALID_REQUEST', 'a console is opened once', {
          violations: [{ field: 'open', description: 'must be in the first message only' }]
        })
      }
      yield next.value.data
    }
  } catch (error) {
    if (error instanceof Fault) refuse(error)
    throw error
  }
}
